"""`in_steps` measures the steps of a coroutine, and does not change its behaviour."""

import asyncio
import functools
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.types import Message, Receive, Scope, Send

from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.request_record import RequestRecord
from fastbg.recorder.steps import BLOCKED_NS, in_steps
from tests.support.journals import describe_events, read

variable: ContextVar[str] = ContextVar("variable", default="unset")


def ignore(took_ns: int) -> None:
    pass


Make = Callable[[], Coroutine[Any, Any, Any]]
TURNS = 8  # of the event loop: each of the coroutines below then has ended, or waits for long


async def seen_of(awaitable: Awaitable[Any], turns: int | None) -> list[object]:
    """Await ``awaitable`` in a task, cancel it after ``turns`` turns of the event loop, and return its behaviour."""

    async def outer() -> object:
        variable.set("outer")
        try:
            return await awaitable, variable.get()
        except BaseException as error:  # noqa: BLE001  # any exception is compared
            return type(error), error.args, type(error.__cause__), type(error.__context__), variable.get()

    running = asyncio.create_task(outer())
    if turns is not None:
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel("a word")
    return [await running, running.cancelled(), running.cancelling()]


async def returns() -> str:
    await asyncio.sleep(0)
    variable.set("inner")
    return await asyncio.sleep(0, "result")


async def raises() -> None:
    await asyncio.sleep(0)
    raise LookupError("lost") from KeyError("cause")


async def raises_at_once() -> None:
    raise LookupError("lost")


async def stops() -> None:
    raise StopIteration("turned into a RuntimeError by Python")


async def waits() -> None:
    await asyncio.sleep(60)


async def cleans_up() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        variable.set("cleaned")
        await asyncio.sleep(0)


async def swallows() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as error:
        variable.set(str(error))
    return await asyncio.sleep(0, "went on")


async def has_a_time_limit() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
    except TimeoutError:
        return "timed out"
    return "never"


async def groups() -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("turns", [None, *range(1, TURNS + 1)])
@pytest.mark.parametrize(
    "make", [returns, raises, raises_at_once, stops, cleans_up, swallows, has_a_time_limit, groups, waits]
)
def test_results_errors_cancellation_and_variables_are_the_same(make: Make, turns: int | None) -> None:
    """Cancelled after any number of turns: a measured coroutine takes the same number of turns."""
    if make in (waits, cleans_up, swallows):
        turns = turns or TURNS
    without = asyncio.run(seen_of(make(), turns))
    assert asyncio.run(seen_of(in_steps(make(), ignore), turns)) == without


def test_a_closed_coroutine_cleans_up_immediately() -> None:
    closed: list[object] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except GeneratorExit as error:
            closed.append(type(error))
            raise

    async def outer() -> None:
        await in_steps(inner(), ignore)

    async def run() -> None:
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()

    asyncio.run(run())
    assert closed == [GeneratorExit]


def test_error_of_a_cancelled_task_is_released() -> None:
    class OwnError(Exception):
        pass

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OwnError from None

    def throw() -> "weakref.ref[BaseException]":
        steps = in_steps(inner(), ignore)
        steps.send(None)
        try:
            steps.throw(asyncio.CancelledError())
        except OwnError as error:
            return weakref.ref(error)
        raise AssertionError

    async def outer() -> None:
        assert throw()() is None

    gc.disable()
    try:
        asyncio.run(outer())
    finally:
        gc.enable()


class Clock:
    """The recorder's clock, which a test advances."""

    def __init__(self) -> None:
        self.ns = 10**9

    def __call__(self) -> int:
        return self.ns

    def go_on(self, ns: int) -> None:
        self.ns += ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fastbg.recorder.steps.monotonic_ns", clock)
    return clock


def test_only_a_long_step_is_recorded(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    request = RequestRecord(scope, journal, journal.check(), (), set(), False)
    task = request.queue(BackgroundTask(print), None)

    async def work() -> None:
        clock.go_on(BLOCKED_NS)  # the maximum of a step that does not block
        for _ in range(2):
            asyncio.get_running_loop().call_soon(clock.go_on, 2 * BLOCKED_NS)  # a step of another task
            await asyncio.sleep(0)
        clock.go_on(BLOCKED_NS + 1_000_000)
        await asyncio.sleep(0)
        clock.go_on(BLOCKED_NS + 2_500_000)
        raise LookupError

    async def outer() -> None:
        with pytest.raises(LookupError):
            await in_steps(work(), functools.partial(request.blocked, task))

    asyncio.run(outer())
    blocked = [event for event in read(tmp_path / "journal.jsonl") if event["event"] == "loop_blocked"]
    assert [(event["task"], event["n"]) for event in blocked] == [("builtins.print", 0)] * 2
    assert [event["ms"] for event in blocked] == [BLOCKED_NS / 1e6 + 1, BLOCKED_NS / 1e6 + 2.5]


def test_a_step_is_recorded_only_for_its_own_task(tmp_path: Path, clock: Clock) -> None:
    async def block() -> None:
        clock.go_on(2 * BLOCKED_NS)
        await asyncio.sleep(0)
        clock.go_on(2 * BLOCKED_NS)

    async def no_block() -> None:
        await asyncio.sleep(0)

    def in_thread() -> None:
        clock.go_on(2 * BLOCKED_NS)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inner = BackgroundTasks([BackgroundTask(block)])
        await BackgroundTasks([BackgroundTask(inner), BackgroundTask(in_thread), BackgroundTask(no_block)])()

    async def nothing(message: Message | None = None) -> Message:
        return {}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    instrument.install()
    try:
        asyncio.run(Recorder(app, Journal(tmp_path / "journal.jsonl"))(scope, nothing, nothing))  # type: ignore[arg-type]  # it sends nothing
    finally:
        instrument.uninstall()
    found = [
        line.rpartition(".")[2]
        for line in describe_events(read(tmp_path / "journal.jsonl"))
        if "started" in line or "blocked" in line
    ]
    assert found == ["BackgroundTasks 0", "block 1", "block 1", "block 1", "in_thread 2", "no_block 3"]
