"""First scripts: each is read back, and its requests are sent to the app."""

import asyncio
import importlib
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fastbg.errors import FastbgError
from fastbg.scripting import placeholders
from fastbg.scripting.draft import draft
from fastbg.scripting.model import ANY_STATUS, Request, Script
from fastbg.scripting.outcome import Outcome
from fastbg.scripting.reader import read_script
from tests.apps.drafted import shapes
from tests.apps.foreign import mail, mounted, signup, tutorial
from tests.support.servers import ROOT

HERE = Path(__file__).parent


def drafted(app: object) -> tuple[str, Script]:
    """Return the text of the draft, and its script with all requests, also those that are commented out."""
    text = draft(app, "shop:app", ".").text
    return text, read_script(uncommented(text), "my.toml", HERE, {}).script


def active(app: object) -> list[Request]:
    """Return the requests of the draft that are no comments."""
    return read_script(draft(app, "shop:app", ".").text, "my.toml", HERE, {}).script.requests


def uncommented(text: str) -> str:
    skipped = r"^# fastbg does not send this unasked: .*\n((?:# .*\n)+)"
    return re.sub(skipped, lambda match: re.sub("(?m)^# ", "", match[1]), text, flags=re.MULTILINE)


def send(app: Any, request: Request, mark: str) -> int:
    """Send a drafted request to ``app`` and return the status of the response."""
    filled = {"mark": mark}
    files = [
        (upload.field, (upload.name, placeholders.fill_text(upload.text or "", filled))) for upload in request.files
    ]
    bodies: dict[str, Any] = {}
    if request.json_body is not None:
        bodies["json"] = placeholders.fill(request.json_body, filled)
    if request.body is not None:
        bodies["content"] = placeholders.fill_text(request.body, filled)
    cookies = "; ".join(
        f"{name}={placeholders.fill_text(str(value), filled)}" for name, value in request.cookies.items()
    )

    async def response_status() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            response = await client.request(
                request.method,
                placeholders.fill_text(request.path, filled),
                params=placeholders.fill(request.query, filled),
                headers={**placeholders.fill(request.headers, filled), **({"Cookie": cookies} if cookies else {})},
                data=placeholders.fill(request.form, filled) or None,
                files=files or None,
                **bodies,
            )
            return response.status_code

    return asyncio.run(response_status())


SKIPPED = ("GET /without", "DELETE /gone/{name}")
SHAPES = {request.name: request for request in drafted(shapes.app)[1].requests}


@pytest.mark.parametrize("name", SHAPES)
def test_drafted_request_is_accepted_whatever_the_mark(name: str) -> None:
    for mark in ("a1b2c3-1", "0f0f0f-000042"):
        assert send(shapes.app, SHAPES[name], mark) in SHAPES[name].expect.status


def test_only_operations_with_tasks_are_requested() -> None:
    assert [name for name in SHAPES if name not in SKIPPED] == [
        "POST /orders",
        "PUT /examples",
        "POST /named-examples",
        "PATCH /lists",
        "POST /scalar",
        "GET /filtered",
        "GET /items/{number}/{ratio}/{colour}/{name}",
        "GET /known/{slug}",
        "GET /files/{file_path}/end",
        "GET /headers",
        "POST /form",
        "POST /form-model",
        "POST /uploads",
        "POST /text",
        "POST /vendor",
        "GET /plain",
        "GET /nested",
        "GET /hidden/{name}",
        "GET /secured/query",
        "GET /secured/header",
        "GET /secured/basic",
        "GET /secured/bearer",
        "GET /outer/between/inner/both",
        "POST /outer/between/inner/both",
        "POST /tenants/{tenant}/again/words",
        "GET /router/in-a-router",
    ]
    made = draft(shapes.app, "shop:app", ".")
    assert made.skipped == {
        "not known to queue a task": ("GET /without",),
        "may destroy data": ("DELETE /gone/{name}",),
    }


@pytest.mark.parametrize(
    ("name", "status"),
    [("POST /orders", 201), ("POST /form", 202), ("DELETE /gone/{name}", 204), ("GET /plain", 200)],
)
def test_status_is_that_of_the_first_success(name: str, status: int) -> None:
    assert SHAPES[name].expect.status == [status]


def test_writes_contain_the_mark_of_their_request() -> None:
    shapes.written.clear()
    for name in ("PUT /examples", "GET /nested", "GET /hidden/{name}"):
        assert send(shapes.app, SHAPES[name], "f00f00-7") == 200
    assert [text for text in shapes.written if "f00f00-7" in text] == ["A title f00f00-7", "f00f00-7", "f00f00-7"]


def test_optional_values_are_given_too() -> None:
    assert SHAPES["GET /filtered"].query == {"limit": 100, "order_by": "created", "word": "${mark}"}
    order = SHAPES["POST /orders"].json_body
    assert set(order["billing"]) == {"street", "country", "note"}
    assert order["tree"] == {"name": "${mark}", "children": []}
    assert order["odd"] == {'a "b".c $${d}': "${mark}"}


def test_example_that_identifies_something_is_kept() -> None:
    assert SHAPES["GET /known/{slug}"].path == "/known/a%20b"
    assert SHAPES["PUT /examples"].json_body == {"title": "A title ${mark}", "isbn_id": "x-1"}


def test_reserved_and_invalid_headers_are_left_out() -> None:
    assert SHAPES["GET /headers"].headers == {"user-agent": "${mark}", "x-key": "${mark}", "x-count": "1"}


def test_protected_routes_are_requested_with_a_secret() -> None:
    assert SHAPES["GET /secured/bearer"].headers == {"Authorization": "Bearer ${mark}"}
    assert SHAPES["GET /secured/query"].query == {"api_key": "${mark}"}
    assert drafted(shapes.app)[0].count('# Take a secret of your own from the environment: "${env.NAME}".') == 4


# Foreign apps


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (tutorial, ["POST /send-notification/{email}"]),
        (mail, ["POST /mail/emailbackground"]),
        (mounted, ["POST /subapi/send-notification/{email}"]),
    ],
)
def test_app_of_a_documentation_is_drafted(
    module: Any, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the app writes to the current folder
    requests = active(module.app)
    assert [request.name for request in requests] == names
    assert [send(module.app, request, "a1b2c3-1") for request in requests] == [200]
    assert any("a1b2c3-1@example.com" in path.read_text() for path in tmp_path.iterdir())


def test_example_app_is_drafted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("fastbg.example.app")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "WORK_SECONDS", 0.0)
    requests = active(module.app)
    assert [request.name for request in requests] == [
        "POST /background_tasks",
        "POST /dependency/background_tasks",
        "POST /send-notification/{email}",
        "POST /sub-dependency/background_tasks",
    ]
    assert [send(module.app, request, "a1b2c3-1") for request in requests] == [200] * 4
    assert tmp_path.joinpath("log.txt").read_text().count("a1b2c3-1") == 4


def test_starlette_route_with_a_task_is_drafted() -> None:
    text = draft(signup.app, "shop:app", ".").text
    assert [request.name for request in active(signup.app)] == ["POST /user/invite", "POST /user/signup"]
    assert "\n# This route is not in an OpenAPI document: add its query, json or form.\n" in text


def test_starlette_routes_of_every_kind_can_be_requested() -> None:
    async def parameters(request: Asked) -> PlainTextResponse:
        return PlainTextResponse(str(request.path_params))

    class Both(HTTPEndpoint):
        async def get(self, request: Asked) -> PlainTextResponse:
            return PlainTextResponse("got")

        async def delete(self, request: Asked) -> PlainTextResponse:
            return PlainTextResponse("deleted")

    inner = Starlette(routes=[Route("/{day}/{rest:path}", parameters)])
    app = Starlette(
        routes=[
            Route("/n/{n:int}/{x:float}/{id:uuid}", parameters, methods=["PUT"]),
            Route("/both", Both),
            Mount("/m/{n:int}", routes=[Mount("/deep", app=inner)]),
        ]
    )
    requests = drafted(app)[1].requests[1:]
    assert [request.name for request in requests] == [
        "PUT /n/{n}/{x}/{id}",
        "GET /both",
        "DELETE /both",
        "GET /m/{n}/deep/{day}/{rest}",
    ]
    assert [send(app, request, "a1b2c3-1") for request in requests] == [200] * 4


class Middleware:
    def __init__(self, app: Any) -> None:
        self.app = app


def with_routes(*routes: tuple[str, str], tasks: bool) -> FastAPI:
    def queues(item_id: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(print, item_id)

    def nothing() -> None: ...

    app = FastAPI()
    for method, path in routes:
        app.add_api_route(path, queues if tasks else nothing, methods=[method])
    return app


def test_what_is_not_known_to_queue_is_commented_out() -> None:
    app = with_routes(("POST", "/orders/{item_id}"), ("PUT", "/items/{item_id}"), tasks=True)
    app.mount("/other", with_routes(("GET", "/x"), ("POST", "/y"), tasks=False))
    made = draft(app, "shop:app", ".")
    assert made.sent == ("POST /orders/{item_id}", "PUT /items/{item_id}")
    assert made.skipped == {"not known to queue a task": ("GET /other/x", "POST /other/y")}
    assert [request.path for request in active(app)] == ["/orders/${mark}", "/items/${mark}"]
    assert len(drafted(app)[1].requests) == 4
    assert made.text.count("# fastbg does not send this unasked: it is not known to queue a task.\n") == 2


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("DELETE", "/orders/{item_id}", "DELETE"),
        ("POST", "/orders/{item_id}/shutdown", '"shutdown" in shutdown'),
        ("GET", "/{item_id}/log-out", '"logout" in log-out'),
    ],
)
def test_what_may_destroy_is_commented_out_though_it_queues(method: str, path: str, why: str) -> None:
    made = draft(with_routes((method, path), tasks=True), "shop:app", ".")
    assert (made.sent, made.skipped) == ((), {"may destroy data": (f"{method} {path}",)})
    assert f"# fastbg does not send this unasked: it may destroy data ({why}).\n# [[request]]\n" in made.text
    assert "# # adds tasks: " in made.text


def test_without_a_request_there_is_one_to_replace() -> None:
    app = with_routes(("GET", "/"), ("POST", "/x"), tasks=False)
    assert [request.path for request in active(app)] == ["/replace-this"]
    assert "# fastbg sends none of the requests below unasked." in draft(app, "shop:app", ".").text


def test_remarks_name_the_first_requests_of_many() -> None:
    app = with_routes(("DELETE", "/gone"), *(("GET", f"/{number}") for number in range(9)), tasks=False)
    assert draft(app, "shop:app", ".").remarks("not sent") == [
        "not sent, because it may destroy data: DELETE /gone",
        "not sent, because they are not known to queue a task: GET /0, GET /1, GET /2, GET /3, GET /4 and 4 more",
    ]


def test_request_names_the_line_that_queues_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(folder: Path) -> str:
        monkeypatch.chdir(folder)
        found = re.search("# adds tasks: (.*)", draft(tutorial.app, "shop:app", ".").text)
        assert found
        return found[1]

    end = r":\d+ background_tasks\.add_task\(write_\w+, .*\)"
    assert re.fullmatch(r"foreign/tutorial\.py" + end, place(ROOT / "tests" / "apps"))
    assert re.fullmatch(re.escape(str(ROOT / "tests" / "apps" / "foreign" / "tutorial.py")) + end, place(HERE))


def test_what_a_run_saw_becomes_expectations() -> None:
    app = with_routes(("POST", "/orders/{item_id}"), ("PUT", "/items/{item_id}"), tasks=True)
    outcome = Outcome("0a1b2c-1", 201, "response-first", ("print",), (("log.txt", "order 0a1b2c-1 for ${x}\n"),))
    made = draft(app, "shop:app", ".").with_outcomes({"POST /orders/{item_id}": outcome})
    script = read_script(made.text, "my.toml", HERE, {}).script
    expect, other = (request.expect for request in script.requests)
    assert script.follow == ["log.txt"]
    assert ([task.task for task in expect.tasks or ()], expect.status) == (["print"], [201])
    assert [(write.file, write.text) for write in expect.writes] == [("log.txt", "order ${mark} for $${x}\n")]
    assert (other.tasks, other.status) == (None, [200])
    assert made.text.count("# adds tasks: ") == 2


def test_only_a_known_route_has_an_expected_verdict() -> None:
    unknown = Starlette(routes=[Route("/x", lambda request: PlainTextResponse("x"))])
    known = drafted(tutorial.app)[1].requests[0].expect
    free = drafted(unknown)[1].requests[1].expect
    assert (known.verdict, known.status) == ("response-first", [200])
    assert (free.verdict, free.status) == ("any", list(ANY_STATUS))


def test_openapi_document_is_not_kept_by_the_app() -> None:
    app = FastAPI()
    draft(app, "shop:app", ".")
    app.add_api_route("/later", lambda: None)  # as a plugin does when the app starts up
    assert "/later" in app.openapi()["paths"]


def test_app_inside_middleware_is_found() -> None:
    assert drafted(Middleware(Middleware(tutorial.app)))[1].requests[0].name == "POST /send-notification/{email}"


@pytest.mark.parametrize("app", [FastAPI(), Starlette(), lambda scope, receive, send: None])
def test_app_without_a_route_gets_a_script_to_fill_in(app: object) -> None:
    text, script = drafted(app)
    assert [request.path for request in script.requests] == ["/"]
    assert "# fastbg found no route in this app. Replace the request below with one of your own." in text


def test_app_that_is_mounted_in_itself_has_an_end() -> None:
    app = FastAPI()

    @app.get("/x")
    def x(background_tasks: BackgroundTasks) -> None: ...

    app.mount("/again", app)
    assert [request.name for request in drafted(app)[1].requests] == ["GET /x"]


# Any names in an app


@st.composite
def nasty(draw: st.DrawFn) -> str:
    pieces = st.sampled_from(
        ["${", "${mark}", "$", "}", '"', "'''", "\\", "\n", "\x1b[31m", "\u202e", "\x7f", "\ue000", "中", "#"]
    )
    return "".join(draw(st.lists(st.one_of(pieces, st.text(max_size=3)), min_size=1, max_size=5)))


@given(nasty(), nasty(), nasty())
@settings(deadline=None, max_examples=50)
def test_text_of_an_app_is_only_ever_a_text(name: str, example: str, path: str) -> None:
    app = FastAPI()
    path = "/" + path.replace("{", "").replace("}", "").lstrip("/")
    assume(not {".", ".."} & set(path.split("/")))  # a client removes them from a URL: RFC 3986, 5.2.4

    @app.post(path, openapi_extra={"requestBody": {"content": {"application/json": {"example": {name: [example]}}}}})
    async def ask(request: Asked, background_tasks: BackgroundTasks) -> dict[str, Any]:
        return {"body": await request.json()}

    text, script = drafted(app)
    assert all(line.isprintable() for line in text.split("\n"))
    clean = name.replace("\ue000", ""), example.replace("\ue000", "")
    assert placeholders.fill(script.requests[0].json_body, {"mark": "m"}) == {clean[0]: [clean[1]]}
    assert send(app, script.requests[0], "m") == 200


def test_app_whose_document_fails_is_refused() -> None:
    class Broken(FastAPI):
        def openapi(self) -> dict[str, Any]:
            raise TypeError("no schema for Thing")

    with pytest.raises(FastbgError, match="the app cannot create its OpenAPI document: TypeError: no schema for Thing"):
        draft(Broken(), "shop:app", ".")
