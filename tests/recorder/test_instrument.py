"""The wrappers beside those of other tools, which wrap the same methods of Starlette."""

import asyncio
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks

from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.naming import task_name
from tests.support.journals import read


class Wrapped:
    """A method as wrapt wraps it: it is no function, says that it is one, and needs to be bound."""

    def __init__(self, original: Any, seen: list[Any], replace: Callable[[Any], Any]) -> None:
        self._original, self._seen, self._replace = original, seen, replace

    @property  # type: ignore[misc]  # as wrapt does it
    def __class__(self) -> Any:
        return type(self._original)

    @property
    def __name__(self) -> Any:
        return self._original.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("called without being bound")

    def __get__(self, instance: Any, owner: type) -> Any:
        bound = self._original.__get__(instance, owner)

        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            self._seen.append(function)
            return bound(self._replace(function), *args, **kwargs)

        return call


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Undo everything that a test wraps."""
    instrument.uninstall()
    monkeypatch.setattr(StarletteTasks, "add_task", StarletteTasks.__dict__["add_task"])
    monkeypatch.setattr(BackgroundTask, "__call__", BackgroundTask.__dict__["__call__"])
    yield []
    instrument.uninstall()


def work() -> None:
    pass


async def async_work() -> None:
    pass


def recorded_tasks(folder: Path, function: Callable[[], Any] = work) -> list[str]:
    """Return the names of the tasks that a recorded request has finished."""
    app = FastAPI()

    @app.post("/")
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(function)

    recorder = Recorder(app, Journal(folder / "journal.jsonl"))

    async def post() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(recorder), base_url="http://shop") as client:
            return (await client.post("/")).status_code

    assert asyncio.run(post()) == 200
    return [event["task"] for event in read(folder / "journal.jsonl") if event["event"] == "task_finished"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_other_wrappers_of_add_task_work_in_both_orders(order: str, tmp_path: Path, seen: list[Any]) -> None:
    if order == "after":
        instrument.install()
    wrapped = Wrapped(StarletteTasks.__dict__["add_task"], seen, lambda function: function)
    StarletteTasks.add_task = wrapped  # type: ignore[method-assign]
    instrument.install()
    assert recorded_tasks(tmp_path) == [f"{__name__}.work"]
    assert seen == [work]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("function", [work, async_work])
def test_other_wrappers_of_the_call_work_in_both_orders(
    order: str, function: Callable[[], Any], tmp_path: Path, seen: list[Any]
) -> None:
    if order == "after":
        instrument.install()
    original = vars(BackgroundTask)["__call__"]

    @wraps(original)
    async def call(self: BackgroundTask) -> None:
        seen.append(original)
        await original(self)

    BackgroundTask.__call__ = call  # type: ignore[method-assign]
    instrument.install()
    assert recorded_tasks(tmp_path, function) == [f"{__name__}.{function.__name__}"]
    assert len(seen) == 1


def traced(function: Any) -> Any:
    """Return a closure as ddtrace queues it."""
    task = function

    async def traced_task(*args: Any, **kwargs: Any) -> None:
        task(*args, **kwargs)

    traced_task.__module__ = "ddtrace.contrib.internal.starlette.patch"
    return traced_task


def test_task_of_ddtrace_has_the_name_of_the_user(tmp_path: Path, seen: list[Any]) -> None:
    wrapped = Wrapped(StarletteTasks.__dict__["add_task"], seen, traced)
    StarletteTasks.add_task = wrapped  # type: ignore[method-assign]
    instrument.install()
    assert recorded_tasks(tmp_path) == [f"{__name__}.work"]


def test_other_closures_keep_their_own_names() -> None:
    closure = traced(work)
    closure.__module__ = "shop"
    assert task_name(closure) == "shop.traced.<locals>.traced_task"


def test_wrappers_stay_until_the_last_recorder_releases_them() -> None:
    instrument.uninstall()
    plain = StarletteTasks.add_task
    instrument.acquire()
    instrument.acquire()
    instrument.release()
    assert StarletteTasks.add_task is not plain
    instrument.release()
    assert StarletteTasks.add_task is plain
