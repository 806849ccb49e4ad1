"""The queued example: the answers and the bytes of the app beside it, a broker that is away, appends made once."""

import asyncio
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from fastbg.broker import Broker
from fastbg.example import queued as example
from fastbg.example.once import NOTE_BYTES, append_once
from fastbg.example.queued import CONFIRM_S
from tests.processes import PATIENCE_S, wait_for
from tests.queues import queued, taskiq_worker
from tests.servers import ask, uvicorn
from tests.test_example import BAD_TEXTS, REQUESTS, written


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of the queued example with a worker, and its data folder."""
    folder = tmp_path_factory.mktemp("queued")
    with (
        queued(folder) as (url, broker),
        taskiq_worker(folder, FASTBG_DIR=str(folder / "data"), FASTBG_WORK="0", FASTBG_BROKER=broker.address),
    ):
        yield url, folder / "data"


def test_answers_and_files_are_those_of_the_app_in_one_process(stage: tuple[str, Path], tmp_path: Path) -> None:
    queued_url, data = stage
    other = tmp_path / "other"
    with uvicorn("fastbg.example:app", cwd=tmp_path, FASTBG_DIR=str(other), FASTBG_WORK="0") as url:
        for path, query, end in [*REQUESTS, ("/foreground_tasks", {"framework": "C"}, "\n## C 框架精讲")]:
            answers = [ask("POST", base + path, params=query) for base in (queued_url, url)]
            assert answers[0].status_code == answers[1].status_code
            if answers[0].status_code == 200:
                assert answers[0].content == answers[1].content
            for folder in (data, other):
                name = "log.txt" if end.startswith("message") else "README.md"
                wait_for(folder / name, re.escape(end.encode()) + b"$")
        query = {"framework": "F", "q": "Q"}
        answers = [ask("POST", f"{base}/sub-dependency/background_tasks", params=query) for base in (queued_url, url)]
        assert answers[0].content == answers[1].content
        for folder in (data, other):
            wait_for(folder / "README.md", "## F 框架精讲".encode())
            wait_for(folder / "log.txt", b"query: Q")
            wait_for(folder / "log.txt", b"framework: F")
    lines = [Counter((folder / "log.txt").read_bytes().splitlines()) for folder in (data, other)]
    assert lines[0] == lines[1]
    assert written(data)["README.md"] == written(other)["README.md"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/background_tasks", {"framework": BAD_TEXTS[0]}),
        ("/send-notification/nobody", {"q": "refused, although q is good"}),
        ("/sub-dependency/background_tasks", {"q": "refused, although q is good"}),
    ],
)
def test_nothing_is_queued_for_a_request_that_is_refused(
    path: str, query: dict[str, str], stage: tuple[str, Path]
) -> None:
    url, data = stage
    assert ask("POST", url + path, params=query).status_code == 422
    marker = f"after-{path.split('/')[1]}"
    assert ask("POST", f"{url}/send-notification/{marker}@example.com").status_code == 200
    log = wait_for(data / "log.txt", f"{marker}@".encode())
    assert b"refused" not in log


def test_request_that_is_sent_twice_with_its_id_is_done_once(stage: tuple[str, Path]) -> None:
    url, data = stage
    for name, key in (("twice", "one-id"), ("twice", "one-id"), ("twice", "another"), ("last", "one-id")):
        answer = ask("POST", f"{url}/send-notification/{name}@example.com", headers={"X-Request-ID": key})
        assert answer.status_code == 200
    assert wait_for(data / "log.txt", b"to last@").count(b"to twice@") == 2


def test_without_a_broker_the_answer_is_503_and_nothing_is_queued(tmp_path: Path) -> None:
    with queued(tmp_path) as (url, broker):
        send = f"{url}/send-notification/"
        assert ask("POST", f"{send}first@example.com").status_code == 200
        broker.kill()
        wait_until(lambda: ask("POST", f"{send}away@example.com").status_code == 503)
        answer = ask("POST", f"{send}away@example.com", headers={"X-Request-ID": "mine"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (503, "mine")
        assert "Ask again with the same X-Request-ID" in answer.json()["detail"]
        broker.start()
        wait_until(lambda: ask("POST", f"{send}back@example.com").status_code == 200)
        with taskiq_worker(tmp_path, FASTBG_DIR=str(tmp_path / "data"), FASTBG_WORK="0", FASTBG_BROKER=broker.address):
            log = wait_for(tmp_path / "data" / "log.txt", b"to back@")
    assert b"to first@" in log
    assert b"to away@" not in log


def test_app_starts_without_a_broker_and_finds_it_later(tmp_path: Path) -> None:
    with Broker(tmp_path / "data") as broker:
        broker.kill()
        with uvicorn("fastbg.example.queued:app", cwd=tmp_path, FASTBG_BROKER=broker.address) as url:
            assert ask("POST", f"{url}/background_tasks?framework=F").status_code == 503
            assert ask("POST", f"{url}/dependency/background_tasks").json() is None
            broker.start()
            wait_until(lambda: ask("POST", f"{url}/background_tasks?framework=F").status_code == 200)


def test_broker_that_stands_still_is_not_waited_for_a_second(tmp_path: Path) -> None:
    with queued(tmp_path) as (url, broker):
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        assert ask("POST", f"{url}/background_tasks?framework=F").status_code == 503
        assert CONFIRM_S < 1
        os.kill(broker.pid, signal.SIGCONT)
        wait_until(lambda: ask("POST", f"{url}/background_tasks?framework=F").status_code == 200)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


# appends that are made once


def test_append_is_made_once_for_a_key_and_a_text(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    made = [append_once(file, data, key) for data, key in ((b"a\n", "1"), (b"a\n", "1"), (b"a\n", "2"), (b"b\n", "1"))]
    assert made == [True, False, True, True]
    assert file.read_bytes() == b"a\na\nb\n"


def test_append_that_was_noted_and_not_made_is_made_when_it_comes_again(tmp_path: Path) -> None:
    file, notes = tmp_path / "log.txt", tmp_path / "log.txt.keys"
    append_once(file, b"first\n", "1")
    append_once(file, b"killed\n", "2")
    os.truncate(file, 6)  # as if the process had been killed right before it appended
    assert append_once(file, b"other\n", "3")
    assert append_once(file, b"killed\n", "2")
    assert not append_once(file, b"first\n", "1")
    assert file.read_bytes() == b"first\nother\nkilled\n"
    assert notes.stat().st_size == 3 * NOTE_BYTES


def test_torn_note_is_taken_back(tmp_path: Path) -> None:
    file, notes = tmp_path / "log.txt", tmp_path / "log.txt.keys"
    append_once(file, b"first\n", "1")
    with notes.open("ab") as stream:
        stream.write(b"torn")
    assert append_once(file, b"second\n", "2")
    assert not append_once(file, b"first\n", "1")
    assert notes.stat().st_size == 2 * NOTE_BYTES


def append_all(file: Path, begin: int) -> int:
    return sum(append_once(file, b"%d\n" % number, str(number)) for number in range(begin, begin + 100))


def test_several_processes_make_each_append_once(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    with ProcessPoolExecutor(4) as pool:
        made = sum(pool.map(append_all, [file] * 6, [0, 0, 50, 50, 100, 100]))
    lines = file.read_bytes().splitlines()
    assert (made, len(lines), len(set(lines))) == (200, 200, 200)


# a slow broker


class SlowWay:
    """A way to a broker on which everything takes ``delay_s`` longer, there and back."""

    delay_s = 0.0

    def __init__(self, port: int) -> None:
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

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._carry(reader, ours), self._carry(theirs, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._loop.call_later(self.delay_s, writer.write, data)  # in their order
        writer.close()


def test_app_ends_though_the_client_of_the_broker_swallows_a_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr(example, "connect", connect)
    monkeypatch.setattr(example.broker, "shutdown", not_connected)
    asyncio.run(start_and_end())
    assert len(cancelled) == 2


def test_response_waits_for_the_word_of_a_slow_broker(tmp_path: Path) -> None:
    with (
        Broker(tmp_path / "data") as broker,
        SlowWay(broker.port) as way,
        uvicorn("fastbg.example.queued:app", cwd=tmp_path, FASTBG_BROKER=way.address) as url,
    ):
        wait_until(lambda: ask("POST", f"{url}/background_tasks?framework=F").status_code == 200)
        way.delay_s = 0.1
        begin = time.monotonic()
        assert ask("POST", f"{url}/background_tasks?framework=F").status_code == 200
        assert time.monotonic() - begin >= 0.2


def test_task_that_a_broker_was_too_slow_to_confirm_is_done_once_if_it_is_asked_for_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = {"FASTBG_DIR": str(data), "FASTBG_WORK": "0"}
    path, key = "/send-notification/slow@example.com", {"X-Request-ID": "mine"}
    with queued(tmp_path) as (url, broker), SlowWay(broker.port) as way:
        with uvicorn("fastbg.example.queued:app", cwd=tmp_path, FASTBG_BROKER=way.address, **settings) as slow_url:
            wait_until(lambda: ask("POST", f"{slow_url}/background_tasks?framework=F").status_code == 200)
            way.delay_s = 0.6
            assert ask("POST", slow_url + path, headers=key).status_code == 503
        assert ask("POST", url + path, headers=key).status_code == 200
        assert ask("POST", f"{url}/send-notification/last@example.com").status_code == 200
        with taskiq_worker(tmp_path, FASTBG_BROKER=broker.address, **settings):
            log = wait_for(data / "log.txt", b"to last@")
    assert log.count(b"to slow@") == 1
