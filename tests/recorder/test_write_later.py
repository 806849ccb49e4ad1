"""Which lines wait for the end of a turn of the event loop, and what a process that is killed within it leaves."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.background import BackgroundTasks
from starlette.types import Message, Receive, Scope, Send

from fastbg.recorder import instrument
from fastbg.recorder import journal as module
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from tests.support.journals import read, received
from tests.support.processes import environment, wait_for
from tests.support.servers import ROOT


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    return journal


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The data of each system call."""
    calls: list[bytes] = []
    write = module._write

    def noted(descriptor: int, lines: bytes, length: int) -> int:
        calls.append(lines)
        return write(descriptor, lines, length)  # type: ignore[no-any-return]  # a C function

    monkeypatch.setattr(module, "_write", noted)
    return calls


def ids(journal: Journal) -> list[str]:
    return [event["request"] for event in read(journal.path)]


def test_later_lines_go_before_the_next_line_in_one_write(journal: Journal, written: list[bytes]) -> None:
    async def run() -> None:
        journal.write_later(received("1"))
        journal.write_later(received("2"))
        assert ids(journal) == []
        journal.write(received("3"))
        assert ids(journal) == ["1", "2", "3"]

    asyncio.run(run())
    assert ids(journal) == ["1", "2", "3"]
    assert len(written) == 1


def test_later_lines_are_written_when_the_turn_ends(journal: Journal, written: list[bytes]) -> None:
    async def run() -> None:
        for turn in ("1", "2"):
            journal.write_later(received(turn))
            asyncio.get_running_loop().call_soon(lambda: found.append(ids(journal)))
            journal.write_later(received(turn))
            await asyncio.sleep(0)

    found: list[list[str]] = []
    asyncio.run(run())
    assert found == [["1", "1"], ["1", "1", "2", "2"]]
    assert len(written) == 2


def test_line_outside_of_asyncio_is_written_at_once(journal: Journal) -> None:
    journal.write_later(received("1"))
    assert ids(journal) == ["1"]


def test_each_loop_writes_its_lines_at_the_end_of_its_turn(journal: Journal) -> None:
    """The other loop is in the middle of its turn all the time."""

    async def run() -> None:
        journal.write_later(received("1"))
        other = threading.Thread(target=asyncio.run, args=[run_other()])
        other.start()
        other.join()
        found.extend(ids(journal))

    async def run_other() -> None:
        journal.write_later(received("2"))

    found: list[str] = []
    asyncio.run(run())
    assert found == ["1", "2"]


def test_loop_left_in_its_turn_does_not_keep_later_lines(journal: Journal) -> None:
    async def leave() -> None:
        journal.write_later(received("1"))
        raise KeyboardInterrupt

    async def run() -> None:
        journal.write_later(received("2"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found.extend(ids(journal))

    found: list[str] = []
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(leave())
    loop.close()
    assert ids(journal) == []
    asyncio.run(run())
    assert found == ["1", "2"]


def test_forked_process_does_not_write_the_lines_again(journal: Journal) -> None:
    async def run() -> None:
        journal.write_later(received("1"))
        child = os.fork()
        if child == 0:
            journal.write(received("child"))
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222  # nothing else is in the loop
        journal.write(received("2"))

    asyncio.run(run())
    assert ids(journal) == ["1", "child", "2"]


def test_lines_of_a_loop_that_exits_are_written_at_the_end(tmp_path: Path) -> None:
    script = """
import asyncio, pathlib, sys
from fastbg.recorder.journal import Journal
from tests.support.journals import received
async def leave():
    journal.write_later(received("1"))
    sys.exit(3)
journal = Journal(pathlib.Path(sys.argv[1]))
journal.check()
asyncio.new_event_loop().run_until_complete(leave())
"""
    command = [sys.executable, "-c", script, str(tmp_path / "journal.jsonl")]
    assert subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode == 3
    assert ids(Journal(tmp_path / "journal.jsonl")) == ["1"]


def test_lines_that_do_not_fit_are_counted(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk gets full in the second of three lines."""
    first, write = received("1"), module._write
    monkeypatch.setattr(module, "_write", lambda file, lines, _: write(file, lines, len(first) + 5))

    async def run() -> None:
        journal.write_later(first)
        journal.write_later(received("2"))
        journal.write(received("3"))
        assert journal.lost == 2
        monkeypatch.setattr(module, "_write", write)
        journal.write(received("4"))

    asyncio.run(run())
    whole, torn, lost, last = journal.path.read_bytes().splitlines()
    assert (whole + b"\n", torn) == (first, received("2")[:5])
    assert b'"event":"events_lost","request":null,"count":2' in lost
    assert b'"request":"4"' in last


async def receive() -> Message:
    return {"type": "http.request"}


async def ignore(_: Message) -> None:
    pass


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def kill_in_task() -> None:
    kill()


async def respond(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def in_endpoint(send: Send) -> None:
    kill()


async def after_queue(send: Send) -> None:
    BackgroundTasks().add_task(print)
    kill()


async def after_response(send: Send) -> None:
    await respond(send)
    kill()


async def after_turn(send: Send) -> None:
    await respond(send)
    await asyncio.sleep(0)
    kill()


async def in_task(send: Send) -> None:
    await run_task(send, kill_in_task)


async def in_thread(send: Send) -> None:
    await run_task(send, kill)


async def after_task(send: Send) -> None:
    await run_task(send, do_nothing)
    kill()


async def do_nothing() -> None:
    pass


async def run_task(send: Send, function: Callable[[], object]) -> None:
    tasks = BackgroundTasks()
    tasks.add_task(function)
    await respond(send)
    await tasks()


RECEIVED, QUEUED, SENT, STARTED = "request_received", "task_queued", "response_sent", "task_started"


HEADERS = [(b"x-fastbg-request-id", b"a1b2c3-1")]


@pytest.mark.parametrize(
    ("app", "headers", "events"),
    [
        (in_endpoint, [], []),  # the turn has not ended, and it has no task
        (in_endpoint, HEADERS, [RECEIVED]),
        (after_queue, [], [RECEIVED, QUEUED]),
        (after_response, [], []),
        (after_response, HEADERS, [RECEIVED]),
        (after_turn, [], [RECEIVED, SENT]),
        (in_task, [], [RECEIVED, QUEUED, SENT, STARTED]),
        (in_thread, [], [RECEIVED, QUEUED, SENT, STARTED]),
        (after_task, [], [RECEIVED, QUEUED, SENT, STARTED, "task_finished"]),
    ],
)
def test_killed_process_leaves_what_began(
    tmp_path: Path, app: Callable[[Send], Awaitable[None]], headers: list[tuple[bytes, bytes]], events: list[str]
) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app(send)

    path = tmp_path / "journal.jsonl"
    Journal(path).check()
    child = os.fork()
    if child == 0:
        try:
            instrument.install()
            scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
            asyncio.run(Recorder(served, Journal(path))(scope, receive, ignore))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [event["event"] for event in read(path)] == events


def test_requests_that_one_turn_answers_share_a_write(tmp_path: Path, written: list[bytes]) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await asyncio.gather(*(recorder({**scope}, receive, ignore) for _ in range(3)))

    path = tmp_path / "journal.jsonl"
    recorder = Recorder(served, Journal(path))
    asyncio.run(run())
    assert [lines.count(b"\n") for lines in written] == [9]


def test_blocked_loop_does_not_hide_the_response(tmp_path: Path) -> None:
    """The watch of the loop writes it."""
    path = tmp_path / "journal.jsonl"

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        assert SENT not in [event["event"] for event in read(path)]
        wait_for(path, b'"response_sent"')  # blocks the loop

    recorder = Recorder(served, Journal(path))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(recorder(scope, receive, ignore))
    recorder.close()
    assert [event["event"] for event in read(path)][:2] == [RECEIVED, SENT]


def test_shutdown_leaves_no_line_behind(tmp_path: Path) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await recorder(scope, receive, ignore)
        assert recorder.shut_down() == []
        found.extend(event["event"] for event in read(path))

    found: list[str] = []
    path = tmp_path / "journal.jsonl"
    recorder = Recorder(served, Journal(path))
    asyncio.run(run())
    assert found == [RECEIVED, SENT, "request_finished"]
