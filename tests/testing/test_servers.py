"""The servers behind the fixtures: imports, failures and cleanup."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.background import BackgroundTask

from fastbg.errors import ServerDied, ServerError
from fastbg.testing import Client
from fastbg.testing.configuration import Configuration
from fastbg.testing.request_log import RequestLog
from fastbg.testing.server import Server
from fastbg.testing.servers import ServerPool
from tests.apps import recorded
from tests.support.processes import PATIENCE_S, is_alive, wait_until
from tests.support.servers import ROOT


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    servers = ServerPool(ROOT, lambda: tmp_path_factory.mktemp("fastbg"))
    yield servers
    servers.stop()


@contextmanager
def client(server: Server) -> Iterator[Client]:
    with Client(RequestLog(server, PATIENCE_S)) as client:
        yield client


def pid_of(server: Server) -> int:
    with client(server) as asking:
        asking.get("/two").wait()
        pid: int = asking.events[-1].detail["pid"]
        return pid


def held() -> Counter[str]:
    """Return the threads of this process and the targets of its descriptors."""
    found = Counter(thread.name for thread in threading.enumerate())
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            found[str(path.readlink())] += 1
    return found


# module:attribute apps: child processes


def test_named_app_is_kept_for_the_session(servers: ServerPool) -> None:
    server = servers.acquire("tests.apps.recorded:app", None)
    pid = pid_of(server)
    servers.release(server)
    assert servers.acquire("tests.apps.recorded:app", None) is server
    assert pid_of(server) == pid != os.getpid()


def test_named_app_may_have_a_server_for_each_test(servers: ServerPool) -> None:
    server = servers.acquire("tests.apps.recorded:app", "function")
    pid = pid_of(server)
    servers.release(server)
    assert not is_alive(pid)


def test_server_that_died_is_followed_by_another(servers: ServerPool) -> None:
    server = servers.acquire("tests.apps.recorded:app", None)
    pid = pid_of(server)
    os.kill(pid, signal.SIGKILL)
    assert server.stop_reason(PATIENCE_S) == "the server was killed by SIGKILL"
    assert pid_of(servers.acquire("tests.apps.recorded:app", None)) != pid


def test_broken_app_is_started_once_and_told_each_time(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("open('tries', 'a').write('x')\nimport no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.raises(ServerDied, match="No module named 'no_such_thing'"):
            servers.acquire("broken:app", None)
    assert (tmp_path / "tries").read_text() == "x"


def test_child_imports_from_where_the_tests_do(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere.py").write_text("from tests.apps.recorded import app")
    monkeypatch.syspath_prepend(tmp_path)
    server = servers.acquire("elsewhere:app", "function")
    servers.release(server)


def write_place(folder: Path) -> None:
    (folder / "place.py").write_text(
        "import os\nfrom fastapi import FastAPI\napp = FastAPI()\nAT_IMPORT = os.environ.get('SHOP')\n"
        "@app.get('/')\ndef place(): return [AT_IMPORT, os.environ.get('PYTHONPATH'), os.getcwd()]\n"
    )


def place_of(server: Server) -> list[str]:
    with client(server) as asking:
        found: list[str] = asking.get("/").json()
        return found


def test_named_app_has_its_environment_and_folder(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.setattr(sys, "path", [".", *sys.path])  # relative to the folder of the tests
    (tmp_path / "new").mkdir()
    place = Configuration.of({}, {"SHOP": 25, "PYTHONPATH": tmp_path / "more"}, "new")
    shop, paths, folder = place_of(servers.acquire("place:app", None, place))
    assert (shop, folder) == ("25", str(tmp_path / "new"))
    assert paths.startswith(f"{tmp_path / 'more'}:{tmp_path}:")


def test_server_in_another_place_replaces_the_kept_one(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_place(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    first = servers.acquire("place:app", None, Configuration(env={"SHOP": "a"}))
    assert servers.acquire("place:app", None, Configuration(env={"SHOP": "a"})) is first
    second = servers.acquire("place:app", None, Configuration(env={"SHOP": "b"}))
    assert place_of(second)[0] == "b"
    with pytest.raises(httpx.ConnectError):
        httpx.get(first.address.url)


@pytest.mark.parametrize("app", ["tests.apps.recorded:app", recorded.app], ids=["named", "object"])
def test_server_with_other_options_replaces_the_kept_one(servers: ServerPool, tmp_path: Path, app: object) -> None:
    uds = str(tmp_path / "shop.sock")
    first = servers.acquire(app, "session", Configuration({"uds": uds}))
    assert servers.acquire(app, "session", Configuration({"uds": uds})) is first
    second = servers.acquire(app, "session", Configuration({"uds": uds, "root_path": "/api"}))  # at the same path
    assert (second.address.unix_socket, second.stop_reason()) == (uds, None)
    pid_of(second)
    servers.stop()
    assert not Path(uds).exists()


def test_broken_app_is_tried_again_in_another_place(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy.py").write_text(
        "import os\nfrom fastapi import FastAPI\nassert os.environ['SHOP']\napp = FastAPI()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ServerError, match="KeyError: 'SHOP'"):
        servers.acquire("needy:app", None)
    assert servers.acquire("needy:app", None, Configuration(env={"SHOP": "a"})).stop_reason() is None


def test_nothing_of_a_child_is_left(servers: ServerPool) -> None:
    before = held()
    server = servers.acquire("tests.apps.recorded:app", None)
    pid = pid_of(server)
    assert held() - before
    servers.stop()
    wait_until(lambda: not held() - before)  # anyio does not wait for the end of its worker threads
    assert not is_alive(pid)


# app objects: threads


def test_app_object_is_served_by_this_process_for_one_test(servers: ServerPool) -> None:
    server = servers.acquire(recorded.app, None)
    assert pid_of(server) == os.getpid()
    servers.release(server)
    assert servers.acquire(recorded.app, "session") is servers.acquire(recorded.app, "session")


def test_test_may_change_what_the_app_object_uses(servers: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers.acquire(recorded.app, "session")
    gate = threading.Event()
    monkeypatch.setattr(recorded, "released", gate)
    with client(server) as asking:
        reply = asking.get("/long")
        assert "task_finished" not in [event.name for event in asking.events]
        gate.set()
        assert reply.came_before("wait")


def test_nothing_of_a_thread_is_left(servers: ServerPool) -> None:
    originals = BackgroundTask.__call__, logging.getLogger("uvicorn").handlers[:], signal.getsignal(signal.SIGTERM)
    before = held()
    server = servers.acquire(recorded.app, None)
    pid_of(server)
    assert held() - before
    servers.release(server)
    servers.stop()
    wait_until(lambda: not held() - before)
    after = BackgroundTask.__call__, logging.getLogger("uvicorn").handlers, signal.getsignal(signal.SIGTERM)
    assert after == originals


def test_one_thread_may_end_before_another(servers: ServerPool) -> None:
    kept, ended = servers.acquire(recorded.app, "session"), servers.acquire(recorded.app, None)
    servers.release(ended)
    with client(kept) as asking:
        assert asking.get("/two").ran == ["work", "async_work"]


def test_lifespan_runs_from_start_to_stop(servers: ServerPool) -> None:
    told = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        told.append("start")
        yield
        told.append("stop")

    server = servers.acquire(FastAPI(title="Shop", lifespan=lifespan), None)
    assert (told, server.name) == (["start"], "Shop")
    servers.release(server)
    assert told == ["start", "stop"]


def test_app_object_that_does_not_start_up(servers: ServerPool, caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    before = held()
    with pytest.raises(ServerError, match="did not start up"):
        servers.acquire(FastAPI(lifespan=lifespan), None)
    assert "LookupError: no database" in caplog.text
    servers.stop()
    wait_until(lambda: not held() - before)


def test_thread_that_a_task_holds_up_is_told(servers: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(recorded, "released", gate)
    server = servers.acquire(recorded.app, None)
    with client(server) as asking:
        asking.get("/long")
    try:
        with pytest.raises(ServerError, match="a background task still ran 2 s after the test"):
            servers.release(server)
    finally:
        gate.set()
    assert server.stop_reason(PATIENCE_S) == "the server has ended"


def test_warning_of_what_uvicorn_tries_is_no_error(
    servers: ServerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    monkeypatch.delitem(sys.modules, "websockets")
    (tmp_path / "websockets.py").write_text(
        "import warnings\nwarnings.warn('old', DeprecationWarning)\nraise ImportError"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.startswith("uvicorn.protocols.websockets")]:
        monkeypatch.delitem(sys.modules, module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        servers.release(servers.acquire(FastAPI(), None))


@pytest.mark.parametrize(("app", "what"), [("", "no app is set"), (None, "no app is set"), (3, "3 is not callable")])
def test_what_is_no_app(servers: ServerPool, app: object, what: str) -> None:
    with pytest.raises(ServerError, match=what) as caught:
        servers.acquire(app, None)
    assert caught.value.where == "the fixture fastbg_app"
