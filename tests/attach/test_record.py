"""`record` in the user's own code."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

import fastbg
from fastbg import record
from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from tests.support.journals import read


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("FASTBG_RECORD", "FASTBG_DIR", "FASTBG_FOLLOW", "FASTBG_JOURNAL_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(instrument, "_users", 0)
    yield
    instrument.uninstall()


def shop() -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def order(tasks: BackgroundTasks, *, fails: bool = False) -> None:
        tasks.add_task(len, "work")
        if fails:
            raise HTTPException(409)

    return app


def post(app: ASGIApp, path: str = "/") -> int:
    async def send() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            return (await client.post(path)).status_code

    return asyncio.run(send())


def names(folder: str = ".fastbg") -> list[str]:
    return [event["event"] for event in read(Path(folder) / "journal.jsonl")]


RECORDED = [
    "recording_started",
    "request_received",
    "task_queued",
    "response_sent",
    "task_started",
    "task_finished",
    "request_finished",
]


def test_a_fastapi_app_stays_what_it_is() -> None:
    app = shop()
    assert record(app) is app
    assert not Path(".fastbg").exists()  # an import records nothing

    class Middleware:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            called.append(scope["type"])
            await self.app(scope, receive, send)

    called: list[str] = []
    app.add_middleware(Middleware)
    assert post(app) == 200
    assert (names(), called) == (RECORDED, ["http"])


def test_an_app_that_has_served_is_recorded() -> None:
    app = shop()
    post(app)
    record(app)
    post(app)
    assert names() == RECORDED


def test_record_is_a_middleware() -> None:
    app = shop()
    app.add_middleware(record, directory="data")
    assert (post(app), post(app, "/?fails=true")) == (200, 409)
    assert names("data")[: len(RECORDED)] == RECORDED
    assert "task_dropped" in names("data")


def test_any_asgi_app_is_recorded() -> None:
    inner = shop()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    assert post(record(app)) == 200
    assert names() == RECORDED


@pytest.mark.parametrize("outer", [Recorder, None])
def test_two_recorders_record_once_the_outer_one(outer: type[Recorder] | None) -> None:
    app = record(shop(), directory="inner")
    app = outer(app, Journal(Path("outer.jsonl"))) if outer else record(Wrapped(app), directory="outer")
    assert post(app) == 200
    assert not Path("inner", "journal.jsonl").exists()
    outer_names = names("outer") if outer is None else [each["event"] for each in read(Path("outer.jsonl"))]
    assert [name for name in outer_names if name != "recording_started"] == RECORDED[1:]


class Wrapped:
    """An app around another one, which changes the scope as some middleware does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "headers": [*scope["headers"], (b"x", b"y")]}, receive, send)


def test_a_request_of_the_app_to_itself_is_another_request() -> None:
    inner = record(shop())
    app = FastAPI()

    @app.post("/")
    async def outer() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://inner") as client:
            await client.post("/")

    assert post(record(app)) == 200
    assert names().count("request_finished") == 2


def test_settings_come_from_the_environment_or_the_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("log.txt").write_text("123", encoding="utf-8")
    monkeypatch.setenv("FASTBG_DIR", "one")
    monkeypatch.setenv("FASTBG_FOLLOW", "log.txt")
    post(record(shop()))
    sent = [event for event in read(Path("one/journal.jsonl")) if event["event"] == "response_sent"]
    assert sent[0]["files"] == {str(tmp_path / "log.txt"): 3}
    post(record(shop(), directory="two", follow=["none.txt"], journal_size=0))
    sent = [event for event in read(Path("two/journal.jsonl")) if event["event"] == "response_sent"]
    assert sent[0]["files"] == {}


def test_it_is_switched_off_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTBG_RECORD", "0")
    app = shop()
    assert post(record(app)) == 200
    assert not Path(".fastbg").exists()


def test_a_folder_that_cannot_be_written_does_not_fail_the_app(caplog: pytest.LogCaptureFixture) -> None:
    Path("file").write_text("", encoding="utf-8")
    assert post(record(shop(), directory="file")) == 200
    assert "cannot write its journal" in caplog.text


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), 1e308])
def test_a_wrong_journal_size_is_an_error(size: float) -> None:
    with pytest.raises(ValueError, match="JOURNAL_SIZE"):
        record(shop(), journal_size=size)


def test_the_package_has_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recorder_of'"):
        fastbg.recorder_of  # noqa: B018
