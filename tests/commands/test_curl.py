"""The curl command that `fastbg serve` suggests: the app accepts it, and it destroys nothing."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.applications import Starlette

from fastbg.commands.curl import curl, curl_of_app
from fastbg.scripting.routes import Operation, operations
from fastbg.scripting.sample_names import MARK
from fastbg.scripting.sample_request import SampleRequest, sample_request
from tests.apps.drafted import shapes
from tests.support.processes import PATIENCE_S
from tests.support.servers import ROOT, uvicorn

URL = "http://127.0.0.1:8000"
# A text on one line has no newline at its end, which the route for uploads demands.
OPERATIONS = [each for each in operations(shapes.app) if each.takes_tasks and each.path != "/uploads"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with uvicorn("tests.apps.drafted.shapes:app", ROOT) as url:
        yield url


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_request_of_every_kind_is_accepted(operation: Operation, server: str, tmp_path: Path) -> None:
    command = shlex.split(curl(sample_request(operation), server))
    status = ["--silent", "--output", str(tmp_path / "body"), "--write-out", "%{http_code}"]
    run = subprocess.run([*command, *status], capture_output=True, timeout=PATIENCE_S, check=True)
    assert run.stdout.decode() == str(operation.status or 200)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (SampleRequest("GET", "/", "/"), f"curl {URL}/"),
        (SampleRequest("HEAD", "/", "/"), f"curl --head {URL}/"),
        (SampleRequest("GET", "/", "/", json=True), f"curl -X GET {URL}/ -H 'Content-Type: application/json' -d true"),
        (SampleRequest("PUT", "/", "/%EE%80%80"), f"curl -X PUT {URL}/0a1b2c-1"),
        (SampleRequest("GET", "/", "/", query={"a b": ["x", 1], "c": True}), f"curl '{URL}/?a+b=x&a+b=1&c=true'"),
        (SampleRequest("GET", "/", "/", headers={"X": f"a'{MARK}"}), f"""curl {URL}/ -H 'X: a'"'"'0a1b2c-1'"""),
        (SampleRequest("GET", "/", "/", cookies={"a": "1", "b": "2"}), f"curl {URL}/ -b 'a=1; b=2'"),
        (SampleRequest("POST", "/", "/", body="@file"), f"curl -X POST {URL}/ --data-raw @file"),
        (
            SampleRequest("POST", "/", "/", form={"a": "@x"}, files=[{"field": "f", "name": "s.txt", "text": "x\n"}]),
            f"curl -X POST {URL}/ --form-string a=@x -F 'f=x;filename=s.txt'",
        ),
        (SampleRequest("POST", "/", "/", form={"a": "@x"}), f"curl -X POST {URL}/ --data-urlencode a=@x"),
    ],
)  # fmt: skip
def test_request_is_quoted_for_a_shell(request_: SampleRequest, words: str) -> None:
    assert curl(request_, URL) == words


def app_of(*routes: tuple[str, str], **options: Any) -> FastAPI:
    app = FastAPI()
    for method, path in routes:
        app.add_api_route(path, lambda: None, methods=[method], **options)
    return app


def test_route_with_tasks_is_preferred() -> None:
    app = app_of(("GET", "/first"))

    @app.post("/orders/cancel")
    def call_off(tasks: BackgroundTasks) -> None: ...

    @app.post("/orders/{number}")
    def change(number: int, tasks: BackgroundTasks) -> None: ...

    @app.post("/private", dependencies=[Depends(HTTPBearer())])
    def private(tasks: BackgroundTasks) -> None: ...

    @app.post("/orders")
    def order(tasks: BackgroundTasks) -> None: ...

    assert curl_of_app(app, URL) == f"curl -X POST {URL}/orders"


def test_without_such_a_route_it_only_reads() -> None:
    assert curl_of_app(app_of(("POST", "/orders"), ("GET", "/reset"), ("GET", "/orders")), URL) == f"curl {URL}/orders"
    assert curl_of_app(app_of(("DELETE", "/x"), ("POST", "/y")), URL) is None


def test_app_without_routes_is_requested_at_its_root() -> None:
    assert curl_of_app(Starlette(), URL) == f"curl {URL}/"
