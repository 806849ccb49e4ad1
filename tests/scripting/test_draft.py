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
from fastbg.scripting.draft import draft, write_draft
from fastbg.scripting.model import ANY_STATUS, Request, Script
from fastbg.scripting.reader import read_script, read_script_file
from tests.apps.drafted import shapes
from tests.apps.foreign import mail, mounted, signup, tutorial
from tests.support.servers import ROOT

HERE = Path(__file__).parent


def drafted(app: object) -> tuple[str, Script]:
    """Return the text of the draft, and its script with all requests, also those that are commented out."""
    text = draft(app, "shop:app", ".").text
    return text, read_script(uncommented(text), "my.toml", HERE, {}).script


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


SHAPES = {request.name: request for request in drafted(shapes.app)[1].requests}


@pytest.mark.parametrize("name", SHAPES)
def test_drafted_request_is_accepted_whatever_the_mark(name: str) -> None:
    for mark in ("a1b2c3-1", "0f0f0f-000042"):
        assert send(shapes.app, SHAPES[name], mark) in SHAPES[name].expect.status


def test_only_operations_with_tasks_are_requested() -> None:
    assert list(SHAPES) == [
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
        "DELETE /gone/{name}",
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
    script = drafted(module.app)[1]
    assert [request.name for request in script.requests] == names
    assert [send(module.app, request, "a1b2c3-1") for request in script.requests] == [200]
    assert any("a1b2c3-1@example.com" in path.read_text() for path in tmp_path.iterdir())


def test_example_app_is_drafted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("fastbg.example.app")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "WORK_SECONDS", 0.0)
    script = drafted(module.app)[1]
    assert [request.name for request in script.requests] == [
        "POST /background_tasks",
        "POST /dependency/background_tasks",
        "POST /send-notification/{email}",
        "POST /sub-dependency/background_tasks",
    ]
    assert [send(module.app, request, "a1b2c3-1") for request in script.requests] == [200] * 4
    assert tmp_path.joinpath("log.txt").read_text().count("a1b2c3-1") == 4


def test_all_starlette_routes_are_drafted_with_a_remark() -> None:
    text, script = drafted(signup.app)
    assert [request.name for request in script.requests] == ["GET /", "POST /user/invite", "POST /user/signup"]
    assert "# fastbg found no route with a BackgroundTasks parameter." in text
    assert "# fastbg sends none of the requests below unasked." in text
    assert uncommented(text).count("\n# This route is not in an OpenAPI document: add its query, json or form.") == 2


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
    requests = drafted(app)[1].requests
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


def test_what_destroys_or_changes_data_is_commented_out() -> None:
    app = FastAPI()
    for method, path in [("DELETE", "/everything"), ("POST", "/shutdown"), ("POST", "/orders"), ("GET", "/export")]:
        app.add_api_route(path, lambda: None, methods=[method])
    made = draft(app, "shop:app", ".")
    assert made.sent == ("GET /export",)
    assert made.skipped == {
        "may destroy data": ("DELETE /everything", "POST /shutdown"),
        "may change data": ("POST /orders",),
    }
    assert made.remarks("not sent") == [
        "not sent, because they may destroy data: DELETE /everything, POST /shutdown",
        "not sent, because it may change data: POST /orders",
    ]
    script = read_script(made.text, "my.toml", HERE, {}).script
    assert [request.name for request in script.requests] == ["GET /export"]
    assert [request.name for request in drafted(app)[1].requests][:2] == ["DELETE /everything", "POST /shutdown"]


def test_route_that_takes_tasks_may_change_data() -> None:
    app = FastAPI()

    @app.post("/orders")
    def order(background_tasks: BackgroundTasks) -> None: ...

    @app.post("/orders/{number}/cancel")
    def call_off(number: int, background_tasks: BackgroundTasks) -> None: ...

    made = draft(app, "shop:app", ".")
    assert (made.sent, made.skipped) == (
        ("POST /orders",),
        {"may destroy data": ("POST /orders/{number}/cancel",)},
    )


def test_only_a_known_route_has_an_expected_verdict() -> None:
    unknown = Starlette(routes=[Route("/x", lambda request: PlainTextResponse("x"))])
    known = drafted(tutorial.app)[1].requests[0].expect
    free = drafted(unknown)[1].requests[0].expect
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


# Script file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.joinpath("shop.py").write_text((ROOT / "tests" / "apps" / "foreign" / "tutorial.py").read_text())
    return tmp_path


def test_script_is_written_with_the_folder_seen_from_it(folder: Path) -> None:
    folder.joinpath("scripts").mkdir()
    path = folder / "scripts" / "first.toml"
    assert write_draft("shop:app", path, folder).sent == ("POST /send-notification/{email}",)
    script = read_script_file(path, {}).script
    assert (script.app, script.folder, script.follow) == ("shop:app", "..", [])
    assert "Run it: fastbg demo first.toml\n" in path.read_text()


def test_existing_file_is_not_overwritten(folder: Path) -> None:
    folder.joinpath("first.toml").write_text("mine")
    with pytest.raises(FastbgError, match="the script cannot be written: the file already exists") as caught:
        write_draft("shop:app", folder / "first.toml", folder)
    assert caught.value.where == str(folder / "first.toml")
    assert folder.joinpath("first.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("target", "name", "what"),
    [
        ("shop:nothing", "first.toml", "the app shop:nothing does not exist"),
        ("shop:app", "none/first.toml", "the script cannot be written: No such file"),
        ("shop:app", f"{'x' * 300}.toml", "the script cannot be written: File name too long"),
    ],
)
def test_failed_draft_leaves_no_file(target: str, name: str, what: str, folder: Path) -> None:
    with pytest.raises(FastbgError, match=re.escape(what)):
        write_draft(target, folder / name, folder)
    assert not list(folder.glob("*.toml"))


def test_app_whose_document_fails_is_refused() -> None:
    class Broken(FastAPI):
        def openapi(self) -> dict[str, Any]:
            raise TypeError("no schema for Thing")

    with pytest.raises(FastbgError, match="the app cannot create its OpenAPI document: TypeError: no schema for Thing"):
        draft(Broken(), "shop:app", ".")
