"""App objects share one event loop for a session, unless an app blocks it or ends it."""

import asyncio
import contextvars
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI

from fastbg.errors import ServerError
from fastbg.testing import Client, thread
from fastbg.testing.configuration import Configuration
from fastbg.testing.request_log import RequestLog
from fastbg.testing.server import Server
from fastbg.testing.servers import ServerPool
from tests.support.processes import PATIENCE_S, wait_until
from tests.support.servers import ROOT

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="not set")


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    servers = ServerPool(ROOT, lambda: tmp_path_factory.mktemp("fastbg"))
    yield servers
    servers.stop()


def app_of(told: list[object]) -> FastAPI:
    """Return an app that tells its event loop, and leaves tasks behind."""
    tasks = set()

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append(f"{name} cancelled")
            raise

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks.add(asyncio.create_task(endless("startup")))
        yield

    app = FastAPI(title="Shop", lifespan=lifespan)

    @app.get("/loop")
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    @app.get("/variable")
    async def value() -> str:
        return variable.get()

    @app.get("/leave")
    async def leave() -> None:
        tasks.add(asyncio.create_task(endless("request")))

    @app.get("/exit")
    async def leave_the_process() -> None:
        asyncio.get_running_loop().call_soon(sys.exit)

    @app.get("/stop")
    async def stop() -> None:
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)

    @app.get("/interrupt")
    async def interrupt() -> None:
        asyncio.get_running_loop().call_soon(signal.default_int_handler, signal.SIGINT, None)

    @app.get("/cancel")
    async def cancel() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    return app


def get(server: Server, path: str) -> object:
    with Client(RequestLog(server, PATIENCE_S)) as client:
        return client.get(path).json()


def test_all_app_objects_share_one_event_loop(servers: ServerPool) -> None:
    loops = []
    for app in (app_of([]), app_of([])):
        for scope in (None, "function", "session"):
            server = servers.acquire(app, scope)
            loops.append(get(server, "/loop"))
            servers.release(server)
    assert len(loops) == 6
    assert len(set(loops)) == 1


def test_only_tasks_of_the_lifespan_end_with_their_server(servers: ServerPool) -> None:
    told: list[object] = []
    server = servers.acquire(app_of(told), None)
    get(server, "/leave")
    servers.release(server)
    assert told == ["startup cancelled"]
    servers.stop()
    assert told == ["startup cancelled", "request cancelled"]


def test_app_does_not_see_the_context_of_the_test(servers: ServerPool) -> None:
    variable.set("of the test")
    assert get(servers.acquire(app_of([]), "session"), "/variable") == "not set"


@pytest.mark.parametrize("path", ["/exit", "/stop", "/interrupt"])
def test_app_that_ends_the_loop_is_followed_by_a_new_one(
    path: str, servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncaught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    server = servers.acquire(app_of([]), "session")
    with Client(RequestLog(server, PATIENCE_S)) as client, suppress(httpx.HTTPError):
        client.get(path)
    (loop,) = servers._loops
    wait_until(lambda: not loop._thread.is_alive())
    assert server.stop_reason() is not None
    assert get(servers.acquire(app_of([]), "session"), "/variable") == "not set"
    assert uncaught == []


def test_app_that_cancels_all_tasks_does_not_end_the_loop(servers: ServerPool) -> None:
    server = servers.acquire(app_of([]), "session")
    before = get(server, "/loop")
    with Client(RequestLog(server, PATIENCE_S)) as client:
        client.get("/cancel")
    wait_until(lambda: server.stop_reason() is not None)
    assert get(servers.acquire(app_of([]), "session"), "/loop") == before


def test_loop_that_still_cancels_its_tasks_serves_no_other_app(servers: ServerPool) -> None:
    app, cancelled, gate = app_of([]), threading.Event(), threading.Event()

    async def hold() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
            gate.wait()

    @app.get("/hold")
    async def leave(tasks: BackgroundTasks) -> None:
        tasks.add_task(hold)

    server = servers.acquire(app, "session")
    with Client(RequestLog(server, PATIENCE_S)) as client:
        client.get("/hold")
        client.get("/exit")
    assert cancelled.wait(PATIENCE_S)
    try:
        assert server.stop_reason() == "the server has ended"
        assert get(servers.acquire(app_of([]), "session"), "/variable") == "not set"
    finally:
        gate.set()


def test_app_that_blocks_the_loop_is_followed_by_a_new_one(
    servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "END_S", 0.01)
    app, gate = app_of([]), threading.Event()

    async def block() -> None:
        gate.wait()

    @app.get("/block")
    def blocked(tasks: BackgroundTasks) -> None:
        tasks.add_task(block)

    server = servers.acquire(app, None)
    with Client(RequestLog(server, PATIENCE_S)) as client:
        client.get("/block")
    try:
        with pytest.raises(ServerError, match="a background task still ran 2 s after the test"):
            servers.release(server)
        monkeypatch.undo()
        other = servers.acquire(app_of([]), None)
        assert get(other, "/variable") == "not set"
        assert "new after Shop, which did not end" in other.event_loop
        servers.release(other)
    finally:
        gate.set()
    assert server.stop_reason(PATIENCE_S) == "the server has ended"


def test_app_object_has_no_place_of_its_own(servers: ServerPool) -> None:
    with pytest.raises(ServerError, match="runs in this process"):
        servers.acquire(app_of([]), None, Configuration(env={"A": "1"}))
