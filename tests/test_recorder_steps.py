"""A coroutine that is timed step by step: what it and its surroundings can notice of that, which is nothing."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from starlette.background import BackgroundTask

from fastbg.journal import Journal
from fastbg.recorder import Recorder, Request, Task
from tests.journals import read

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    return Request(Recorder(None, journal), scope).queue(BackgroundTask(print), None)  # type: ignore[arg-type]


Make = Callable[[], Coroutine[Any, Any, Any]]


async def seen_of(awaitable: Awaitable[Any], cancel: int) -> list[object]:
    """What a task that awaits ``awaitable`` is seen to do while it is cancelled ``cancel`` times."""

    async def outer() -> object:
        variable.set("outer")
        try:
            return await awaitable, variable.get()
        except BaseException as error:  # noqa: BLE001  # whatever it is is to be compared
            return type(error), error.args, type(error.__cause__), type(error.__context__), variable.get()

    running = asyncio.create_task(outer())
    for _ in range(cancel):
        await asyncio.sleep(0.01)
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
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    except TimeoutError:
        return "timed out"
    return "never"


async def groups() -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("cancel", [0, 1])
@pytest.mark.parametrize(
    "make", [returns, raises, raises_at_once, stops, cleans_up, swallows, has_a_time_limit, groups, waits]
)
def test_results_errors_cancellation_and_variables_are_the_same(task: Task, make: Make, cancel: int) -> None:
    if make in (waits, cleans_up, swallows):
        cancel = 1
    without = asyncio.run(seen_of(make(), cancel))
    assert asyncio.run(seen_of(task.in_steps(make()), cancel)) == without


def test_a_coroutine_that_is_closed_cleans_up_at_once(task: Task) -> None:
    closed: list[object] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except GeneratorExit as error:
            closed.append(type(error))
            raise

    async def outer() -> None:
        await task.in_steps(inner())

    async def run() -> None:
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()

    asyncio.run(run())
    assert closed == [GeneratorExit]


def test_the_error_of_a_cancelled_task_is_not_left_to_the_garbage_collector(task: Task) -> None:
    class OwnError(Exception):
        pass

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OwnError from None

    def throw() -> "weakref.ref[BaseException]":
        steps = task.in_steps(inner())
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


def test_only_a_step_that_takes_long_is_told(task: Task, tmp_path: Path) -> None:
    async def work() -> None:
        for _ in range(4):
            time.sleep(0.02)  # noqa: ASYNC251
            await asyncio.sleep(0.06)
        time.sleep(0.06)  # noqa: ASYNC251
        raise LookupError

    async def outer() -> None:
        with pytest.raises(LookupError):
            await task.in_steps(work())

    asyncio.run(outer())
    blocked = [event["ms"] for event in read(tmp_path / "journal.jsonl") if event["event"] == "loop_blocked"]
    assert blocked[-1] >= 60
