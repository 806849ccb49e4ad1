"""Which tasks are seen, and what becomes of them: those with a call of their own, and those that nothing calls."""

import asyncio
import functools
import gc
import importlib
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import starlette
from fastapi import BackgroundTasks, Depends, FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.recorder import instrument, made_tasks, steps
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.steps import BLOCKED_NS
from tests.support.journals import Fields, read


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    instrument.install()
    yield
    instrument.uninstall()


def record(app: ASGIApp, folder: Path, *paths: str, headers: dict[str, str] | None = None) -> list[Fields]:
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
    ran: list[str] = []

    def work() -> None:
        ran.append("work")

    events = record(answering(lambda: Response(background=kind(work))), tmp_path, "/")
    assert seen(events) == ["queued work", "started work", "finished work"]
    assert (events[1]["where"], ran) == (where, ["work"])


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


class Plain(BackgroundTask):
    pass


class Direct(StarletteTasks):
    """Calls the functions by itself, and uses what they return and raise."""

    async def __call__(self) -> None:
        for task in self.tasks:
            try:
                result = task.func(*task.args, **task.kwargs)
                results.append(await result if task.is_async else result)
            except ValueError as error:
                results.append(str(error))


results: list[object] = []


def add(one: int, other: int) -> int:
    return one + other


async def async_add(one: int, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


def fail() -> None:
    raise ValueError("no")


async def async_fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("async no")


def test_collection_gets_what_its_functions_return_and_raise(tmp_path: Path) -> None:
    def respond() -> Response:
        tasks = Direct([BackgroundTask(add, 1, 2), BackgroundTask(async_add, 3, other=4)])
        tasks.tasks += [BackgroundTask(fail), BackgroundTask(async_fail)]
        return Response(background=tasks)

    results.clear()
    events = record(answering(respond), tmp_path, "/")
    assert results == [3, 7, "no", "async no"]
    ended = {"add": "finished", "async_add": "finished", "fail": "failed", "async_fail": "failed"}
    assert seen(events) == [f"{name} {task}" for task, end in ended.items() for name in ("queued", "started", end)]
    assert [event["where"] for event in events if event["event"] == "task_started"] == ["loop"] * 4


def test_collection_may_await_what_its_functions_return(tmp_path: Path) -> None:
    async def prepare() -> Awaitable[int]:
        return async_add(1, 2)

    class Prepared(StarletteTasks):
        async def __call__(self) -> None:
            for task in self.tasks:
                made = await task.func(*task.args, **task.kwargs)
                results.append(await made)

    results.clear()
    events = record(answering(lambda: Response(background=Prepared([BackgroundTask(prepare)]))), tmp_path, "/")
    assert (results, ends(events)) == ([3], [None])


def test_collection_in_a_collection_with_its_own_call(tmp_path: Path) -> None:
    inner = StarletteTasks([BackgroundTask(work)])
    events = record(answering(lambda: Response(background=InTurn([BackgroundTask(inner)]))), tmp_path, "/")
    assert [text for text in seen(events) if text.endswith(" work")] == ["queued work", "started work", "finished work"]
    assert len(events) == 6


@pytest.mark.parametrize("kind", [Own, Logged, Plain])
def test_task_that_is_called_twice_is_two_tasks(tmp_path: Path, kind: Callable[..., BackgroundTask]) -> None:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> Response:
        task = kind(work)
        await task()
        return Response(background=task)

    events = record(app, tmp_path, "/")
    assert seen(events) == ["queued work", "started work", "finished work"] * 2
    assert [event["n"] for event in events] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("kind", [Own, Waiting, Logged, Plain])
def test_own_calls_outside_of_a_request_are_not_recorded(kind: Callable[..., BackgroundTask]) -> None:
    ran: list[int] = []
    asyncio.run(kind(ran.append, 1)())
    tasks = InTurn()
    tasks.add_task(ran.append, 2)
    asyncio.run(tasks())
    asyncio.run(Response(background=functools.partial(append, ran)).background())  # type: ignore[arg-type, misc]
    assert ran == [1, 2, 3]


async def append(ran: list[int]) -> None:
    ran.append(3)


def test_class_may_have_options_of_another_base() -> None:
    class Named:
        name = ""

        def __init_subclass__(cls, *, name: str) -> None:
            cls.name = name

    class Both(BackgroundTask, Named, name="both"):
        pass

    assert Both.name == "both"


def test_step_in_a_collection_that_is_a_task_is_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = count(0, 2 * BLOCKED_NS)
    monkeypatch.setattr(steps, "monotonic_ns", lambda: next(times))
    task = BackgroundTask(StarletteTasks([BackgroundTask(forget_nothing)]))
    record(answering(lambda: Response(background=task)), tmp_path, "/")
    blocked = [event for event in read(tmp_path / "journal.jsonl") if event["event"] == "loop_blocked"]
    assert [event["task"].rpartition(".")[2] for event in blocked] == ["forget_nothing"]


async def forget_nothing() -> None:
    pass


@pytest.mark.parametrize(("version", "detail"), [("1.6.2", True), ("1.7.0", False), ("1.10.0", False)])
def test_middleware_is_named_where_it_starts_tasks_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, detail: bool
) -> None:
    async def timed(request: Request, call_next: Callable[[Request], Any]) -> Any:
        return await call_next(request)

    async def endpoint() -> Response:
        await BackgroundTask(work)()
        return Response()

    app = FastAPI()
    app.get("/")(endpoint)
    app.middleware("http")(timed)
    instrument.uninstall()
    with monkeypatch.context() as patch:
        patch.setattr(starlette, "__version__", version)
        importlib.reload(instrument)
    instrument.install()

    async def get() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get("/")).status_code

    try:
        assert asyncio.run(get()) == 200  # without a recorder
        events = record(app, tmp_path, "/")
    finally:
        instrument.uninstall()
        importlib.reload(instrument)
    behind = f"behind the BaseHTTPMiddleware {__name__}."
    assert [event.get("detail", "").startswith(behind) for event in events if event["event"] == "task_started"] == [
        detail
    ]


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
    assert not vars(async_work)  # the user's function is unchanged


def test_background_of_a_response_may_be_added_to_other_tasks(tmp_path: Path) -> None:
    def respond() -> Response:
        response = Response(background=async_work)  # type: ignore[arg-type]  # Starlette awaits any callable
        tasks = StarletteTasks()
        tasks.add_task(response.background)  # type: ignore[arg-type]
        return Response(background=tasks)

    events = record(answering(respond), tmp_path, "/")
    assert seen(events) == ["queued async_work", "started async_work", "finished async_work"]


class Awaiting(BackgroundTask):
    async def __call__(self) -> None:
        await self.func()  # type: ignore[call-arg]  # it is no method


def test_background_of_a_response_in_an_own_task_is_one_task(tmp_path: Path) -> None:
    def respond() -> Response:
        response = Response(background=async_work)  # type: ignore[arg-type]  # Starlette awaits any callable
        return Response(background=Awaiting(response.background))  # type: ignore[arg-type]

    events = record(answering(respond), tmp_path, "/")
    assert seen(events) == ["queued async_work", "started async_work", "finished async_work"]


def test_response_without_a_background_still_has_the_attribute() -> None:
    response = Response()
    assert response.background is None
    assert vars(Response)["background"] is Response.background  # type: ignore[misc]
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


def test_result_of_a_future_that_nobody_awaits_is_told(tmp_path: Path) -> None:
    def begin() -> Awaitable[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_result(async_work())
        return future

    def respond() -> Response:
        response = Response()
        response.background = begin  # type: ignore[assignment]  # Starlette awaits what any callable returns
        return response

    assert ends(record(answering(respond), tmp_path, "/")) == [COROUTINE]


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

    def closed() -> Any:
        coroutine = async_work()
        coroutine.close()
        return coroutine

    async def closed_generator() -> Any:
        generator = generate()
        await generator.aclose()  # type: ignore[attr-defined]
        return generator

    async def begun_generator() -> Any:
        generator = generate()
        await anext(generator)
        return generator

    tasks = (keep, started, closed, closed_generator, begun_generator, lambda: iter("plain"))
    events = record(queueing(*tasks), tmp_path, "/")
    kept[0].close()
    assert ends(events) == [None] * len(tasks)


def test_warning_about_a_coroutine_is_pythons_own() -> None:
    with pytest.warns(RuntimeWarning) as recorded:
        forget_in_thread()
    instrument.uninstall()
    with pytest.warns(RuntimeWarning) as plain:
        forget_in_thread()
    for warning in (recorded[0], plain[0]):
        assert (warning.filename, warning.lineno) == (__file__, forget_in_thread.__code__.co_firstlineno + 1)
    assert str(recorded[0].message) == str(plain[0].message)


def test_other_tools_still_get_the_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument.uninstall()
    warned: list[Any] = []
    monkeypatch.setattr(warnings, "_warn_unawaited_coroutine", warned.append)
    instrument.install()
    assert ends(record(queueing(forget), tmp_path, "/")) == ["made a coroutine that nobody awaited: async_work"]
    assert [coroutine.__name__ for coroutine in warned] == ["async_work"]
    instrument.uninstall()


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

        tasks = StarletteTasks([BackgroundTask(work)])
        tasks.add_task(async_work)
        return StreamingResponse(body(), background=tasks)

    @app.get("/forgotten")
    def forgotten() -> None:
        StarletteTasks().add_task(work)
        BackgroundTask(async_work)

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


def test_living_task_of_the_injected_response_is_dropped(tmp_path: Path) -> None:
    app, kept = FastAPI(), [BackgroundTask(print)]

    @app.get("/")
    def injected(response: Response) -> None:
        kept[:] = [BackgroundTask(work)]
        response.background = kept[0]

    assert ends(record(app, tmp_path, "/")) == [INJECTED]
    assert len(kept) == 1


def test_collection_that_no_response_has_has_no_known_cause(tmp_path: Path) -> None:
    events = record(never_called(tmp_path), tmp_path, "/forgotten")
    dropped = [(each["task"], each["reason"], each["detail"]) for each in events if each["event"] == "task_dropped"]
    assert dropped == [
        (f"{__name__}.work", "unknown", "the recorder saw no cause"),
        (f"{__name__}.async_work", "never-called", "it was made, and nothing called it"),
    ]


def test_task_of_a_response_that_raises_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no more"):
        record(never_called(tmp_path), tmp_path, "/raises")
    queued, made = (event for event in read(tmp_path / "journal.jsonl") if event["event"] == "task_dropped")
    assert (queued["reason"], queued["detail"]) == ("exception", "ValueError: no more")
    assert made["reason"] == "never-called"
    assert made["detail"] == "the StreamingResponse that it was given to raised ValueError: no more"


class RaisingResponse(Response):
    def render(self, content: Any) -> bytes:
        raise TypeError("not serializable")


def make_and_raise() -> None:
    task = BackgroundTask(work)
    raise ValueError(type(task).__name__)


def give_and_raise() -> None:
    response = Response(background=StarletteTasks([BackgroundTask(work)]))
    raise ValueError(response.status_code)


def raise_another() -> None:
    try:
        make_and_raise()
    except ValueError:
        raise OSError("another") from None


def raise_a_group() -> None:
    try:
        make_and_raise()
    except ValueError as error:
        group = BaseExceptionGroup("some", [error])
    raise group


def return_raising() -> Response:
    return RaisingResponse(background=BackgroundTask(work))


class Unasked:
    @property
    def __class__(self) -> Any:
        raise AssertionError("the recorder asks for nothing of the app's objects")

    @__class__.setter
    def __class__(self, kind: Any) -> None: ...


def raise_beside_another_object() -> None:
    kept = Unasked(), Unasked()
    one, task = kept[0], BackgroundTask(work)
    raise ValueError(id(one) == id(task))


@pytest.mark.parametrize(
    ("endpoint", "error", "detail"),
    [
        (raise_beside_another_object, ValueError, "it was made, and the app raised ValueError: False before"),
        (return_raising, TypeError, "the RaisingResponse that it was given to raised TypeError: not serializable"),
        (
            make_and_raise,
            ValueError,
            "it was made, and the app raised ValueError: BackgroundTask before any",
        ),
        (give_and_raise, ValueError, "it was made, and the app raised ValueError: 200 before anything called it"),
        (raise_another, OSError, "it was made, and the app raised OSError: another before anything called it"),
        (
            raise_a_group,
            BaseExceptionGroup,
            "it was made, and the app raised ExceptionGroup: some (1 sub",
        ),
    ],
)
def test_task_that_the_exception_of_the_app_keeps_is_dropped(
    tmp_path: Path, endpoint: Callable[[], Any], error: type[BaseException], detail: str
) -> None:
    app = FastAPI()
    app.get("/")(endpoint)
    with pytest.raises(error):
        record(app, tmp_path, "/")
    (dropped,) = (event for event in read(tmp_path / "journal.jsonl") if event["event"] == "task_dropped")
    assert dropped["reason"] == "never-called"
    assert dropped["detail"].startswith(detail)


def test_attributes_of_an_app_that_raises_are_its_own(tmp_path: Path) -> None:
    class App:
        @property
        def background(self) -> object:
            raise RuntimeError("not for the recorder")

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            kept.append(BackgroundTask(work))
            raise ValueError("no")

    kept: list[BackgroundTask] = []
    with pytest.raises(ValueError, match="no"):
        record(App(), tmp_path, "/")


def test_task_in_a_cycle_of_an_exception_is_dropped(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = BackgroundTask(work)
        try:
            fail()
        except ValueError as error:
            kept = [error, task]  # the exception keeps this frame
            assert kept
        await PlainTextResponse("x")(scope, receive, send)

    gc.disable()
    try:
        assert ends(record(app, tmp_path, "/")) == ["it was made, and nothing called it"]
    finally:
        gc.enable()


def test_wait_for_the_end_of_a_task_is_short_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled scope around the app does not end it. A task of the injected Response needs none."""
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        await anyio.sleep(pause_s)
        if len(pauses) == 2:
            kept.clear()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(BackgroundTask(work))
        await PlainTextResponse("x")(scope, receive, send)
        around.pop().cancel()

    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as scope_around:
            around.append(scope_around)
            await recorder(scope, receive, send)

    around: list[anyio.CancelScope] = []
    kept: list[BackgroundTask] = []
    recorder = Recorder(app, Journal(tmp_path / "journal.jsonl"))
    monkeypatch.setattr(made_tasks, "sleep", sleep)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(cancelled(scope, nothing, nothing))  # type: ignore[arg-type]  # it sends nothing
    assert [event["event"] for event in read(tmp_path / "journal.jsonl")][-2:] == ["task_dropped", "request_finished"]
    assert len(pauses) == 2
    assert sum(made_tasks._PAUSES_S) < 0.01
    record(never_called(tmp_path), tmp_path, "/injected")
    assert len(pauses) == 2


def test_request_ends_when_its_wait_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(pause_s: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(made_tasks, "sleep", cancelled)
    kept: list[BackgroundTask] = []
    with pytest.raises(asyncio.CancelledError):
        record(answering(lambda: kept.append(BackgroundTask(work))), tmp_path, "/")
    assert read(tmp_path / "journal.jsonl")[-1]["event"] == "request_finished"


async def nothing(message: Message | None = None) -> Message:
    return {}


def test_task_that_may_still_be_called_is_not_dropped(tmp_path: Path) -> None:
    kept: list[BackgroundTask] = []
    assert record(answering(lambda: kept.append(BackgroundTask(work))), tmp_path, "/") == []


def test_task_that_is_called_is_not_dropped(tmp_path: Path) -> None:
    assert ends(record(never_called(tmp_path), tmp_path, "/file")) == [None]
