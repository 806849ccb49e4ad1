"""What a server has not finished: its description, and the place in the user's code."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.background import BackgroundTasks
from starlette.types import Message, Receive, Scope, Send

from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.unfinished import Unfinished
from tests.support.journals import read

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/\x1b/x", "headers": []}
HERE = re.escape(__file__)


@asynccontextmanager
async def running(
    folder: Path, *functions: Callable[[], object], before: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
) -> AsyncIterator[Recorder]:
    """Send a request whose app awaits ``before``, then runs ``functions`` as tasks. The end of the block cancels it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await before()
        tasks = BackgroundTasks()
        for function in functions:
            tasks.add_task(function)
        await tasks()

    recorder = Recorder(app, Journal(folder / "journal.jsonl"))
    call = asyncio.create_task(recorder(dict(SCOPE), nothing, nothing))  # type: ignore[arg-type]  # it sends nothing
    try:
        yield recorder
    finally:
        call.cancel()
        await asyncio.wait([call])


async def nothing(message: Message | None = None) -> Message:
    return {}


def run(test: Coroutine[Any, Any, None]) -> None:
    instrument.install()
    try:
        asyncio.run(test)
    finally:
        instrument.uninstall()


def lines_of(unfinished: list[Unfinished]) -> list[str]:
    return [re.sub(r"for [\d.]+ s", "for X s", each.describe(2**60)) for each in unfinished]


def test_task_in_the_loop_has_the_line_that_it_awaits(tmp_path: Path) -> None:
    async def inner() -> None:
        started.set()
        await asyncio.sleep(3600)

    async def outer() -> None:
        await inner()

    async def test() -> None:
        async with running(tmp_path, outer, lambda: None) as recorder:
            await started.wait()
            first, second = lines_of(recorder.unfinished())
        assert re.fullmatch(
            rf".*\.outer of POST /\\x1b/x: in the event loop for X s, at {HERE}:\d+ in .*\.inner", first
        )
        assert second.endswith("<lambda> of POST /\\x1b/x: not started")
        assert not recorder.unfinished()

    started = asyncio.Event()
    run(test())


def test_task_that_runs_right_now_has_its_line(tmp_path: Path) -> None:
    async def work() -> None:
        def look() -> None:
            found.extend(lines_of(recorders[0].unfinished()))

        await asyncio.sleep(0)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()  # blocks the loop
        look()

    async def test() -> None:
        async with running(tmp_path, work) as recorder:
            recorders.append(recorder)
            while len(found) < 2:
                await asyncio.sleep(0)

    recorders: list[Recorder] = []
    found: list[str] = []
    run(test())
    assert re.search(rf"in the event loop for X s, at {HERE}:\d+ in .*\.work$", found[0])
    assert re.search(rf"in the event loop for X s, at {HERE}:\d+ in .*\.look$", found[1])


def test_task_in_a_thread_has_its_line_and_another_waits(tmp_path: Path) -> None:
    def work() -> None:
        started.set()
        released.wait()

    async def test() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        async with running(tmp_path, work) as one, running(tmp_path, work) as other:
            try:
                while not started.is_set() or not any("waits" in line for line in lines_of(other.unfinished())):
                    await asyncio.sleep(0)
                (first,), (second,) = lines_of(one.unfinished()), lines_of(other.unfinished())
            finally:
                released.set()
        assert re.search(rf": in a thread for X s, at {HERE}:\d+ in .*\.work$", first)
        assert second.endswith(": waits for a thread")

    started, released = threading.Event(), threading.Event()
    run(test())


def test_task_of_a_library_has_no_line(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, never.wait) as recorder:
            while not (found := lines_of(recorder.unfinished())) or "loop" not in found[0]:
                await asyncio.sleep(0)
            assert found == ["asyncio.locks.Event.wait of POST /\\x1b/x: in the event loop for X s"]

    never = asyncio.Event()
    run(test())


def test_request_without_a_task_is_unfinished_and_recorded(tmp_path: Path) -> None:
    async def endpoint() -> None:
        started.set()
        await asyncio.sleep(3600)

    async def test() -> None:
        async with running(tmp_path, before=endpoint) as recorder:
            await started.wait()
            (line,) = lines_of(recorder.shut_down())
        assert re.fullmatch(rf"POST /\\x1b/x: not finished for X s, at {HERE}:\d+ in .*\.endpoint", line)

    started = asyncio.Event()
    run(test())
    (event,) = [event for event in read(tmp_path / "journal.jsonl") if event["event"] == "shutdown"]
    assert (event["unfinished"], event["requests"], event["tasks"], event["waits"]) == (0, 1, [], False)


def test_texts_are_cut() -> None:
    each = Unfinished("t" * 1000, "GET /" + "p" * 60_000, "in a thread", 0, None)
    assert len(each.describe(0)) < 1000
