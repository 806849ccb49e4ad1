"""What blocks the event loop outside of tasks is named by its place in the user's code."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from fastbg.recorder import loop_watch
from fastbg.recorder.journal import Journal
from fastbg.recorder.loop_watch import BlockedLoop, LoopWatch
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.steps import BLOCKED_NS, in_steps
from tests.support.journals import read
from tests.support.processes import PATIENCE_S, wait_until


class Looks:
    """Counts the looks of the watch at the frames of the loop's thread. ``happened``: after the first one."""

    def __init__(self) -> None:
        self.happened = threading.Event()
        self.found: list[object] = []


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks, look = Looks(), LoopWatch._look

    def noticed(self: LoopWatch, frame: object) -> object:
        looks.found.append(look(self, frame))  # type: ignore[arg-type]  # a frame
        looks.happened.set()
        return looks.found[-1]

    monkeypatch.setattr(LoopWatch, "_look", noticed)
    return looks


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A clock that advances by a millisecond per call, so that the watch is never late."""
    now = count(0, 10**6)
    monkeypatch.setattr(loop_watch, "monotonic_ns", lambda: next(now))
    return now


def block(looks: Looks) -> None:
    assert looks.happened.wait(PATIENCE_S)


def new_watch(on_blocked: Callable[[BlockedLoop], None], *, is_busy: bool = True) -> LoopWatch:
    return LoopWatch([block.__code__], lambda: is_busy, lambda: None, on_blocked)


async def watched(call: Callable[[], object], blocked: list[BlockedLoop]) -> None:
    watch = new_watch(blocked.append)
    watch.start()
    try:
        await asyncio.sleep(0)
        result = call()
        if asyncio.iscoroutine(result):
            await result
        while not blocked:  # the watch reports it when the loop answers
            await asyncio.sleep(0.001)
    finally:
        watch.close()


def test_blocked_loop_is_reported_with_the_innermost_own_line(looks: Looks) -> None:
    blocked: list[BlockedLoop] = []
    asyncio.run(watched(lambda: block(looks), blocked))
    place, line = blocked[0].place, block.__code__.co_firstlineno + 1
    assert place == f"{__file__}:{line} in block"
    assert blocked[0].ms > 0
    assert blocked[0].variables["looks"] is looks  # of the frame that serves


def test_blocking_task_is_left_to_the_measure_of_its_steps(looks: Looks) -> None:
    blocked: list[BlockedLoop] = []

    async def task() -> None:
        block(looks)

    async def run() -> None:
        await in_steps(task(), lambda _: blocked.append(BlockedLoop("measured", {}, 0.0)))
        blocked.append(BlockedLoop("end", {}, 0.0))

    asyncio.run(watched(run, blocked))
    assert looks.found[0] is None
    assert {each.place for each in blocked} <= {"measured", "end"}


def test_frames_of_a_late_thread_are_no_evidence(monkeypatch: pytest.MonkeyPatch, looks: Looks) -> None:
    now = count(0, 2 * BLOCKED_NS + 1)
    late = threading.Event()

    def clock() -> int:
        if next_ns := next(now):
            late.set()
        return next_ns

    monkeypatch.setattr(loop_watch, "monotonic_ns", clock)
    blocked: list[BlockedLoop] = []

    async def run() -> None:
        watch = new_watch(blocked.append)
        watch.start()
        assert late.wait(PATIENCE_S)
        watch.close()

    asyncio.run(run())
    assert (looks.found, blocked) == ([], [])


def test_endpoint_that_blocks_is_in_the_journal(looks: Looks, tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/block":
            block(looks)
        while not [event for event in read(journal) if event["event"] == "loop_blocked"]:
            await asyncio.sleep(0.001)

    async def receive() -> Message:
        return {}

    async def send(_: Message) -> None:
        pass

    async def call() -> None:
        recorder = Recorder(app, Journal(journal))
        for kind in ("http", "websocket"):
            looks.happened.clear()
            scope: Scope = {"type": kind, "method": "GET", "path": "/block", "headers": []}
            await recorder(scope, receive, send)
        recorder.close()

    journal = tmp_path / "journal.jsonl"
    asyncio.run(call())
    blocked = [event for event in read(journal) if event["event"] == "loop_blocked"]
    assert (blocked[0]["path"], blocked[0]["request"]) == ("/block", read(journal)[0]["request"])
    assert blocked[0]["place"].endswith(" in block")


def test_thread_ends_without_requests_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "IDLE_S", 0)

    def is_watched() -> bool:
        return "fastbg loop watch" in [thread.name for thread in threading.enumerate()]

    async def run() -> None:
        watch = new_watch(print, is_busy=False)
        for _ in range(2):
            watch.start()
            assert is_watched()
            await asyncio.to_thread(wait_until, lambda: not is_watched())
            assert watch.thread is None
        watch.close()

    asyncio.run(run())


def test_thread_that_a_request_meets_at_its_end_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request has seen the thread, and has not started another one."""
    monkeypatch.setattr(loop_watch, "IDLE_S", 0)
    busy = [False, True]  # at the decision to end, and after it
    asked = threading.Event()

    def is_busy() -> bool:
        if busy:
            return busy.pop(0)
        asked.set()
        return True

    async def run() -> None:
        watch = LoopWatch([block.__code__], is_busy, lambda: None, print)
        watch.start()
        thread = watch.thread
        await asyncio.to_thread(asked.wait, PATIENCE_S)
        assert watch.thread is thread
        watch.close()

    asyncio.run(run())
    assert asked.is_set()


def test_thread_ends_with_its_loop_and_the_next_loop_has_another() -> None:
    watch = new_watch(print)
    threads: list[threading.Thread | None] = []

    async def run() -> None:
        watch.start()
        threads.append(watch.thread)

    for _ in range(2):
        asyncio.run(run())
        wait_until(lambda: watch.thread is None)
    assert None not in threads
    assert threads[0] is not threads[1]


def test_forked_process_starts_a_thread_of_its_own() -> None:
    watch = new_watch(print)

    async def start() -> bool:
        watch.start()
        return watch.thread is not None and watch.thread.is_alive()

    async def run() -> None:
        assert await start()
        child = os.fork()
        if child == 0:
            os._exit(0 if asyncio.run(start()) else 1)
        try:
            assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222  # nothing else is in the loop
        finally:
            watch.close()

    asyncio.run(run())
