"""Which tasks are seen, and what becomes of them: those with a call of their own, and those that nothing calls."""

import asyncio
import functools
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.requests import Request

from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from tests.support.journals import Fields, read


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    instrument.install()
    yield
    instrument.uninstall()


def record(app: FastAPI, folder: Path, *paths: str, headers: dict[str, str] | None = None) -> list[Fields]:
    """Return the task events of these requests to ``app``."""
    recorder = Recorder(app, Journal(folder / "journal.jsonl"))

    async def send() -> None:
        transport = httpx.ASGITransport(recorder)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            for path in paths:
                await client.get(path, headers=headers)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coroutines that are never awaited
        asyncio.run(send())
    return [event for event in read(folder / "journal.jsonl") if event["event"].startswith("task_")]


def seen(events: list[Fields]) -> list[str]:
    """Return a text per event: ``started work``."""
    return [f"{event['event'].removeprefix('task_')} {event['task'].rpartition('.')[2]}" for event in events]


def ends(events: list[Fields]) -> list[str | None]:
    """Return why each task failed or was dropped, None if it finished."""
    return [
        event.get("error") or event.get("detail")
        for event in events
        if event["event"] in ("task_finished", "task_failed", "task_dropped")
    ]


def answering(response: Callable[[], object]) -> FastAPI:
    """Return an app whose ``/`` returns what ``response`` returns."""
    app = FastAPI()

    @app.get("/", response_model=None)
    async def endpoint() -> object:
        return response()

    return app


def queueing(*functions: Callable[..., Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        for function in functions:
            tasks.add_task(function)

    return app


def work() -> None:
    pass


async def async_work() -> None:
    await asyncio.sleep(0)


# a call of its own


class Own(BackgroundTask):
    async def __call__(self) -> None:
        self.func(*self.args, **self.kwargs)


class Waiting(BackgroundTask):
    async def __call__(self) -> None:
        await asyncio.sleep(0)
        await super().__call__()


class Logged(BackgroundTask):
    async def __call__(self) -> None:
        await super().__call__()


class Retried(BackgroundTask):
    async def __call__(self) -> None:
        try:
            await super().__call__()
        except ValueError:
            await super().__call__()


class Parallel(StarletteTasks):
    async def __call__(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(functools.partial(task.func)) for task in self.tasks))


class InTurn(StarletteTasks):
    async def __call__(self) -> None:
        for task in self.tasks:
            await task()


@pytest.mark.parametrize(("kind", "where"), [(Own, "loop"), (Waiting, "loop"), (Logged, "thread")])
def test_task_with_a_call_of_its_own_is_one_task(
    tmp_path: Path, kind: Callable[..., BackgroundTask], where: str
) -> None:
    events = record(answering(lambda: Response(background=kind(work))), tmp_path, "/")
    assert seen(events) == ["queued work", "started work", "finished work"]
    assert events[1]["where"] == where


def test_classes_that_are_defined_later_are_seen_as_well(tmp_path: Path) -> None:
    class Later(BackgroundTask):
        async def __call__(self) -> None:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        record(answering(lambda: Response(background=Later(work))), tmp_path, "/")
    events = [event for event in read(tmp_path / "journal.jsonl") if event["event"].startswith("task_")]
    assert seen(events) == ["queued work", "started work", "failed work"]


def test_tries_of_a_task_are_one_task(tmp_path: Path) -> None:
    tries = iter([ValueError("busy"), None])

    def flaky() -> None:
        if error := next(tries):
            raise error

    events = record(answering(lambda: Response(background=Retried(flaky))), tmp_path, "/")
    assert seen(events) == ["queued flaky", "started flaky", "failed flaky", "started flaky", "finished flaky"]
    assert {event["n"] for event in events} == {0}


@pytest.mark.parametrize("kind", [Parallel, InTurn])
def test_collection_with_a_call_of_its_own_shows_its_tasks(tmp_path: Path, kind: type[StarletteTasks]) -> None:
    def respond() -> Response:
        tasks = kind()
        tasks.add_task(work)
        tasks.add_task(gc.isenabled)
        return Response(background=tasks)

    events = record(answering(respond), tmp_path, "/")
    assert sorted(seen(events)) == sorted(
        f"{name} {task}" for name in ("queued", "started", "finished") for task in ("work", "isenabled")
    )
    assert {event["where"] for event in events if event["event"] == "task_started"} == {"thread"}


def test_functions_of_a_collection_are_the_users_afterwards(tmp_path: Path) -> None:
    tasks = Parallel([BackgroundTask(work)])
    record(answering(lambda: Response(background=tasks)), tmp_path, "/")
    assert tasks.tasks[0].func is work


def test_any_callable_may_be_the_background_of_a_response(tmp_path: Path) -> None:
    events = record(answering(lambda: Response(background=async_work)), tmp_path, "/")  # type: ignore[arg-type]
    assert seen(events) == ["queued async_work", "started async_work", "finished async_work"]


def test_background_of_a_response_may_be_added_to_other_tasks(tmp_path: Path) -> None:
    def respond() -> Response:
        response = Response(background=async_work)  # type: ignore[arg-type]  # Starlette awaits any callable
        tasks = StarletteTasks()
        tasks.add_task(response.background)  # type: ignore[arg-type]
        return Response(background=tasks)

    events = record(answering(respond), tmp_path, "/")
    assert seen(events) == ["queued async_work", "started async_work", "finished async_work"]


def test_response_without_a_background_still_has_the_attribute() -> None:
    response = Response()
    assert response.background is None
    del response.background
    with pytest.raises(AttributeError, match="no attribute 'background'"):
        response.background  # noqa: B018


def test_task_that_runs_again_is_told_as_such(tmp_path: Path) -> None:
    cached = Response(background=BackgroundTask(work))
    events = record(answering(lambda: cached), tmp_path, "/", "/")
    notes = [event.get("detail") for event in events if event["event"] == "task_queued"]
    assert notes == [None, "an earlier request has already called it: its response object was returned again"]


# what nobody runs


def unawaited(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call() -> Any:
        return function()

    return call


async def generate() -> AsyncIterator[int]:
    yield 1


def generate_now() -> Iterator[int]:
    yield 1


async def return_coroutine() -> object:
    return async_work()


async def forget() -> None:
    async_work()  # type: ignore[unused-coroutine]  # the mistake under test


def forget_in_thread() -> None:
    async_work()  # type: ignore[unused-coroutine]  # the same


async def return_generator() -> object:
    return generate_now()


COROUTINE = "returned a coroutine that nobody awaited"


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (unawaited(async_work), COROUTINE),
        (lambda: async_work(), COROUTINE),
        (return_coroutine, COROUTINE),
        (generate, "returned an async generator that nobody ran"),
        (generate_now, "returned a generator that nobody ran"),
        (return_generator, "returned a generator that nobody ran"),
        (forget, "made a coroutine that nobody awaited: async_work"),
        (forget_in_thread, "made a coroutine that nobody awaited: async_work"),
    ],
)
def test_task_whose_work_nobody_runs_has_failed(tmp_path: Path, function: Callable[..., Any], error: str) -> None:
    events = record(queueing(function, work), tmp_path, "/")
    assert ends(events) == [error, None]


def test_result_that_somebody_else_runs_is_no_failure(tmp_path: Path) -> None:
    kept: list[Any] = []

    def keep() -> Any:
        kept.append(async_work())
        return kept[0]

    def started() -> Any:
        generator = generate_now()
        next(generator)
        return generator

    events = record(queueing(keep, started, lambda: iter("plain")), tmp_path, "/")
    kept[0].close()
    assert ends(events) == [None, None, None]


# what nothing calls


class Replacing(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            await handle(request)
            return JSONResponse("another response")

        return handler


async def after_yield(tasks: BackgroundTasks) -> AsyncIterator[None]:
    yield
    tasks.add_task(work)


def never_called(folder: Path) -> FastAPI:
    """Return an app whose routes make a task that nothing calls, each in its own way."""
    app = FastAPI()
    (folder / "file").write_bytes(b"x" * 100)

    @app.get("/bare")
    def bare() -> None:
        BackgroundTask(work)

    @app.get("/injected")
    def injected(response: Response) -> None:
        response.background = BackgroundTask(work)

    @app.get("/injected-collection")
    def injected_collection(response: Response) -> None:
        response.background = StarletteTasks()
        response.background.add_task(work)

    @app.get("/injected-list")
    def injected_list(response: Response) -> None:
        response.background = StarletteTasks([BackgroundTask(work)])

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse(folder / "file", background=BackgroundTask(work))

    @app.get("/raises")
    async def raises() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"a part"
            raise ValueError("no more")

        return StreamingResponse(body(), background=StarletteTasks([BackgroundTask(work)]))

    @app.get("/late", dependencies=[Depends(after_yield)])
    def late(response: Response) -> None:
        pass

    app.router.route_class = Replacing

    @app.get("/replaced")
    async def replaced() -> Response:
        return Response(background=BackgroundTask(work))

    @app.get("/replaced-collection")
    def replaced_collection(tasks: BackgroundTasks) -> None:
        tasks.add_task(work)

    return app


INJECTED = "it was set on the injected Response, whose background FastAPI ignores"


@pytest.mark.parametrize(
    ("path", "reason", "detail"),
    [
        ("/bare", "never-called", "it was made, and nothing called it"),
        ("/injected", "never-called", INJECTED),
        ("/injected-collection", "never-called", INJECTED),
        ("/injected-list", "never-called", INJECTED),
        ("/file", "never-called", "the FileResponse that it was given to did not call it"),
        ("/replaced", "never-called", "the Response that it was given to did not call it"),
        ("/replaced-collection", "never-called", "the JSONResponse that it was given to did not call it"),
        ("/late", "after-response", "queued after the response was sent, and nothing ran it after that"),
    ],
)
def test_task_that_nothing_calls_is_dropped(tmp_path: Path, path: str, reason: str, detail: str) -> None:
    events = record(never_called(tmp_path), tmp_path, path, headers={"Range": "bytes=500-"})
    dropped = events[-1]
    assert (dropped["event"], dropped["task"]) == ("task_dropped", f"{__name__}.work")
    assert (dropped["reason"], dropped["detail"]) == (reason, detail)


def test_task_of_a_response_that_raises_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no more"):
        record(never_called(tmp_path), tmp_path, "/raises")
    dropped = next(event for event in read(tmp_path / "journal.jsonl") if event["event"] == "task_dropped")
    assert dropped["reason"] == "never-called"
    assert dropped["detail"] == "the StreamingResponse that it was given to raised ValueError: no more"


def test_task_that_may_still_be_called_is_not_dropped(tmp_path: Path) -> None:
    kept: list[BackgroundTask] = []
    assert record(answering(lambda: kept.append(BackgroundTask(work))), tmp_path, "/") == []


def test_task_that_is_called_is_not_dropped(tmp_path: Path) -> None:
    assert ends(record(never_called(tmp_path), tmp_path, "/file")) == [None]
