"""The queued example: same responses and bytes as the example app, failures of the broker, appends made only once."""

import asyncio
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from fastbg.example import queued as example
from fastbg.example.once import ENTRY_BYTES, append_once
from fastbg.example.queued import CONFIRM_S
from fastbg.services.broker import Broker
from tests.example.test_example import BAD_TEXTS, REQUESTS, written
from tests.support.processes import PATIENCE_S, is_stopped, wait_for, wait_until
from tests.support.queues import (
    LONG_TIMEOUTS,
    QUEUED,
    message_count,
    query_broker,
    reserve_port,
    serve_queued_example,
    taskiq_worker,
)
from tests.support.servers import fetch, uvicorn

SOON = "0.2"  # seconds until the app stops waiting for a confirmation


class Stage(NamedTuple):
    """The URL of the queued example, with a worker, its data folder and its broker."""

    url: str
    data: Path
    broker: Broker

    def wait_until_done(self) -> None:
        """Wait until the broker has no task left: a task may end before an earlier one."""
        wait_until(lambda: query_broker(self.broker.address, message_count) == 0)

    def log(self) -> bytes:
        """Return what all tasks have written."""
        self.wait_until_done()
        return (self.data / "log.txt").read_bytes()


@contextmanager
def on_stage(folder: Path) -> Iterator[Stage]:
    with (
        serve_queued_example(folder) as (url, broker),
        taskiq_worker(folder, FASTBG_DIR=str(folder / "data"), FASTBG_WORK="0", FASTBG_BROKER=broker.address),
    ):
        yield Stage(url, folder / "data", broker)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Share one stage between tests that check only their own texts."""
    with on_stage(tmp_path_factory.mktemp("queued")) as made:
        yield made


def test_responses_and_files_match_the_example_app(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with (
        on_stage(tmp_path) as stage,
        uvicorn("fastbg.example:app", cwd=tmp_path, FASTBG_DIR=str(other), FASTBG_WORK="0") as url,
    ):
        for path, query, end in [*REQUESTS, ("/foreground_tasks", {"framework": "C"}, "\n## C 框架精讲")]:
            answers = [fetch("POST", base + path, params=query) for base in (stage.url, url)]
            assert answers[0].status_code == answers[1].status_code
            if answers[0].status_code == 200:
                assert answers[0].content == answers[1].content
            stage.wait_until_done()
            wait_for(other / ("log.txt" if end.startswith("message") else "README.md"), re.escape(end.encode()) + b"$")
        query = {"framework": "F", "q": "Q"}
        answers = [fetch("POST", f"{base}/sub-dependency/background_tasks", params=query) for base in (stage.url, url)]
        assert answers[0].content == answers[1].content
        stage.wait_until_done()
        wait_for(other / "README.md", "## F 框架精讲$".encode())  # the last of three tasks in sequence
        lines = [Counter((folder / "log.txt").read_bytes().splitlines()) for folder in (stage.data, other)]
        assert lines[0] == lines[1]
        assert written(stage.data)["README.md"] == written(other)["README.md"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/background_tasks", {"framework": BAD_TEXTS[0]}),
        ("/send-notification/nobody", {"q": "refused, although q is good"}),
        ("/sub-dependency/background_tasks", {"q": "refused, although q is good"}),
    ],
)
def test_refused_request_queues_nothing(path: str, query: dict[str, str], stage: Stage) -> None:
    assert fetch("POST", stage.url + path, params=query).status_code == 422
    marker = f"after-{path.split('/')[1]}"
    assert fetch("POST", f"{stage.url}/send-notification/{marker}@example.com").status_code == 200
    log = stage.log()
    assert f"{marker}@".encode() in log
    assert b"refused" not in log


def test_repeated_request_with_its_id_is_done_once(stage: Stage) -> None:
    for name, key in (("twice", "one-id"), ("twice", "one-id"), ("twice", "another"), ("last", "one-id")):
        answer = fetch("POST", f"{stage.url}/send-notification/{name}@example.com", headers={"X-Request-ID": key})
        assert answer.status_code == 200
    log = stage.log()
    assert (log.count(b"to twice@"), log.count(b"to last@")) == (2, 1)


def test_response_is_503_and_nothing_is_queued_without_a_broker(tmp_path: Path) -> None:
    with serve_queued_example(tmp_path) as (url, broker):
        send = f"{url}/send-notification/"
        assert fetch("POST", f"{send}first@example.com").status_code == 200
        broker.kill()
        wait_until(lambda: fetch("POST", f"{send}away@example.com").status_code == 503)
        answer = fetch("POST", f"{send}away@example.com", headers={"X-Request-ID": "mine"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (503, "mine")
        assert "Repeat the request with the same X-Request-ID" in answer.json()["detail"]
        broker.start()
        wait_until(lambda: fetch("POST", f"{send}back@example.com").status_code == 200)
        with taskiq_worker(tmp_path, FASTBG_DIR=str(tmp_path / "data"), FASTBG_WORK="0", FASTBG_BROKER=broker.address):
            log = Stage(url, tmp_path / "data", broker).log()
    assert b"to first@" in log
    assert b"to back@" in log
    assert b"to away@" not in log


def test_app_starts_without_a_broker_and_finds_it_later(tmp_path: Path) -> None:
    reserve_port(tmp_path / "data")
    with Broker(tmp_path / "data") as broker:
        broker.kill()
        with uvicorn(f"{QUEUED}:app", cwd=tmp_path, FASTBG_BROKER=broker.address) as url:
            assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 503
            assert fetch("POST", f"{url}/dependency/background_tasks").json() is None
            broker.start()
            send_until_queued(url, broker.address, "later@example.com")


def test_app_waits_for_a_stopped_broker_as_configured(tmp_path: Path) -> None:
    path = "/send-notification/still@example.com"
    with (
        serve_queued_example(tmp_path) as (patient_url, broker),
        uvicorn(f"{QUEUED}:app", tmp_path, FASTBG_BROKER=broker.address, FASTBG_BROKER_CONFIRM=SOON) as url,
        ThreadPoolExecutor() as pool,
    ):
        send_until_queued(url, broker.address, "connected@example.com")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(broker.pid or 0))
        try:
            waiting = pool.submit(fetch, "POST", patient_url + path)
            assert fetch("POST", url + path).status_code == 503
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        assert waiting.result().status_code == 200
        send_until_queued(url, broker.address, "again@example.com")


def test_default_confirmation_limit_is_below_a_second() -> None:
    assert CONFIRM_S < 1


def send_until_queued(url: str, address: str, email: str) -> None:
    """Request a notification until the broker has its task, whatever the response is."""

    def is_queued() -> bool:
        fetch("POST", f"{url}/send-notification/{email}")
        return email in query_broker(address, last_task)

    wait_until(is_queued)


async def last_task(js: JetStreamContext) -> str:
    """Return the last task that the broker got, or an empty string."""
    try:
        message = await js.get_last_msg("fastbg", "fastbg.tasks")
    except NotFoundError:
        return ""
    return (message.data or b"").decode()


# appends made only once


def test_append_is_made_once_for_a_key_and_a_text(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    made = [append_once(file, data, key) for data, key in ((b"a\n", "1"), (b"a\n", "1"), (b"a\n", "2"), (b"b\n", "1"))]
    assert made == [True, False, True, True]
    assert file.read_bytes() == b"a\na\nb\n"


def test_append_with_an_entry_that_was_not_made_is_made_later(tmp_path: Path) -> None:
    file, keys = tmp_path / "log.txt", tmp_path / "log.txt.keys"
    append_once(file, b"first\n", "1")
    append_once(file, b"killed\n", "2")
    os.truncate(file, 6)  # as if the process was killed right before the append
    assert append_once(file, b"other\n", "3")
    assert append_once(file, b"killed\n", "2")
    assert not append_once(file, b"first\n", "1")
    assert file.read_bytes() == b"first\nother\nkilled\n"
    assert keys.stat().st_size == 3 * ENTRY_BYTES


def test_incomplete_entry_is_removed(tmp_path: Path) -> None:
    file, keys = tmp_path / "log.txt", tmp_path / "log.txt.keys"
    append_once(file, b"first\n", "1")
    with keys.open("ab") as stream:
        stream.write(b"torn")
    assert append_once(file, b"second\n", "2")
    assert not append_once(file, b"first\n", "1")
    assert keys.stat().st_size == 2 * ENTRY_BYTES


def append_all(file: Path, begin: int) -> int:
    return sum(append_once(file, b"%d\n" % number, str(number)) for number in range(begin, begin + 100))


def test_several_processes_make_each_append_once(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    with ProcessPoolExecutor(4) as pool:
        made = sum(pool.map(append_all, [file] * 6, [0, 0, 50, 50, 100, 100]))
    lines = file.read_bytes().splitlines()
    assert (made, len(lines), len(set(lines))) == (200, 200, 200)


# a slow broker


class Proxy:
    """A proxy to a broker. After `hold` it keeps the data from the broker in `held` until `release`."""

    def __init__(self, port: int) -> None:
        self.held = b""
        self._holds = False
        self._writers: list[asyncio.StreamWriter] = []
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.address = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def hold(self) -> None:
        async def hold() -> None:
            self._holds = True

        asyncio.run_coroutine_threadsafe(hold(), self._loop).result(PATIENCE_S)

    def release(self) -> None:
        async def release() -> None:
            self._holds = False
            self._writers[-1].write(self.held)

        asyncio.run_coroutine_threadsafe(release(), self._loop).result(PATIENCE_S)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._carry(reader, ours), self._carry(theirs, writer, may_hold=True))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_hold: bool = False
    ) -> None:
        while data := await reader.read(65536):
            if may_hold and self._holds:
                self.held += data
            else:
                writer.write(data)
        writer.close()


def test_app_exits_if_the_nats_client_ignores_a_cancellation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[bool] = []

    async def connect() -> None:
        while len(cancelled) < 2:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.append(True)

    async def not_connected() -> None:
        pass

    async def start_and_end() -> None:
        async with asyncio.timeout(PATIENCE_S), example.connect_to_broker(example.app):
            pass

    monkeypatch.setattr(example, "FOLDER", tmp_path)
    monkeypatch.setattr(example, "CONNECT_S", 0.01)
    monkeypatch.setattr(example, "RETRY_S", 0.01)
    monkeypatch.setattr(example, "connect", connect)
    monkeypatch.setattr(example.broker, "shutdown", not_connected)
    asyncio.run(start_and_end())
    assert len(cancelled) == 2


CONFIRMED = b'"seq"'  # a part of the broker's confirmation


def test_response_waits_for_a_slow_confirmation(tmp_path: Path) -> None:
    with (
        Broker(tmp_path / "data") as broker,
        Proxy(broker.port) as proxy,
        uvicorn(f"{QUEUED}:app", tmp_path, FASTBG_BROKER=proxy.address, **LONG_TIMEOUTS) as url,
        ThreadPoolExecutor() as pool,
    ):
        assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 200
        proxy.hold()
        waiting = pool.submit(fetch, "POST", f"{url}/background_tasks?framework=F")
        wait_until(lambda: CONFIRMED in proxy.held)
        assert not waiting.done()
        proxy.release()
        assert waiting.result().status_code == 200


def test_request_repeated_after_a_slow_confirmation_is_done_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = {"FASTBG_DIR": str(data), "FASTBG_WORK": "0"}
    path, key = "/send-notification/slow@example.com", {"X-Request-ID": "mine"}
    with serve_queued_example(tmp_path) as (url, broker), Proxy(broker.port) as proxy:
        soon = settings | {"FASTBG_BROKER": proxy.address, "FASTBG_BROKER_CONFIRM": SOON}
        with uvicorn(f"{QUEUED}:app", tmp_path, **soon) as slow_url:
            send_until_queued(slow_url, broker.address, "connected@example.com")
            proxy.hold()
            assert fetch("POST", slow_url + path, headers=key).status_code == 503
            wait_until(lambda: "slow@" in query_broker(broker.address, last_task))
            proxy.release()
        number = query_broker(broker.address, message_count)
        assert fetch("POST", url + path, headers=key).status_code == 200
        assert query_broker(broker.address, message_count) == number + 1
        with taskiq_worker(tmp_path, FASTBG_BROKER=broker.address, **settings):
            log = Stage(url, data, broker).log()
    assert log.count(b"to slow@") == 1


@pytest.mark.anyio
async def test_app_exits_if_a_connection_is_never_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """nats-py may never close a refused connection."""
    cancelled = asyncio.Event()

    async def without_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def at_once() -> None:
        pass

    monkeypatch.setattr(example, "FOLDER", tmp_path)
    monkeypatch.setattr(example, "CLOSE_S", 0.01)
    monkeypatch.setattr(example, "connect", at_once)
    monkeypatch.setattr(example.broker, "shutdown", without_end)
    async with example.connect_to_broker(example.app):
        pass
    assert cancelled.is_set()
