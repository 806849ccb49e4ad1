"""The recorder in this process does not change the behaviour of an app and its tasks."""

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.naming import describe
from tests.support.journals import describe_events, read

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def installed() -> Iterator[None]:
    instrument.install()
    yield
    instrument.uninstall()


async def call(app: ASGIApp, kind: str = "http") -> list[MutableMapping[str, Any]]:
    """Call ``app`` with a request, and return its messages and its result or exception."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": "/", "headers": [(b"x-fastbg-request-id", b"1")]}
    try:
        sent.append({"returned": await app(scope, receive, send)})  # type: ignore[func-returns-value]
    except Exception as error:  # noqa: BLE001  # any exception is compared
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
        sent.append({"raised": repr(error), "cause": repr(error.__cause__), "frames": frames})
    return sent


class Behaviour:
    """An app whose tasks record their surroundings."""

    def __init__(self, tasks: Callable[["Behaviour"], BackgroundTask]) -> None:
        self.seen: list[object] = []
        self.make = tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        variable.set("of the request")
        background = self.make(self)
        self.seen.append(sorted(vars(background)))
        await PlainTextResponse("body", background=background)(scope, receive, send)
        self.seen.append(variable.get())

    def sync_task(self, *args: object, **kwargs: object) -> str:
        self.seen.append(("sync", args, kwargs, variable.get(), self._others()))
        variable.set("of the thread")
        return "thrown away"

    async def async_task(self, *args: object, **kwargs: object) -> str:
        self.seen.append(("async", args, kwargs, variable.get(), self._others()))
        variable.set("of the async task")
        await asyncio.sleep(0)
        return "thrown away"

    def _others(self) -> list[str]:
        """Return the context variables except the recorder's own ones."""
        return sorted(each.name for each in copy_context() if not each.name.startswith("fastbg_"))

    def fail(self) -> None:
        self.seen.append("fails")
        raise LookupError("lost") from KeyError("cause")

    async def async_fail(self) -> None:
        self.seen.append("fails")
        raise LookupError("lost") from KeyError("cause")


def in_order(app: Behaviour) -> BackgroundTask:
    tasks = BackgroundTasks()
    tasks.add_task(app.sync_task, 1, key="value")
    tasks.add_task(app.async_task, 2, task="fine", request="fine")
    tasks.add_task(func=app.sync_task)
    return tasks


def after_failure(app: Behaviour) -> BackgroundTask:
    return BackgroundTasks([BackgroundTask(app.fail), BackgroundTask(app.sync_task)])


@pytest.mark.parametrize(
    "tasks",
    [
        in_order,
        after_failure,
        lambda app: BackgroundTask(app.async_task, 1),
        lambda app: BackgroundTask(app.async_fail),
        lambda app: BackgroundTask(app.sync_task, "positional", named="argument"),
        lambda app: BackgroundTask(app.fail, "too many", "arguments"),
        lambda app: BackgroundTask(None),  # type: ignore[arg-type]  # the argument of `add_task(f())`
    ],
)
def test_results_exceptions_variables_and_order_are_the_same(
    tmp_path: Path, tasks: Callable[[Behaviour], BackgroundTask]
) -> None:
    bare, recorded = Behaviour(tasks), Behaviour(tasks)
    without = asyncio.run(call(bare))
    instrument.install()
    try:
        with_it = asyncio.run(call(Recorder(recorded, Journal(tmp_path / "journal.jsonl"))))
    finally:
        instrument.uninstall()
    assert with_it == without
    assert recorded.seen == bare.seen
    assert len(read(tmp_path / "journal.jsonl")) > 4


@pytest.mark.usefixtures("installed")
def test_a_running_task_object_keeps_its_function(tmp_path: Path) -> None:
    seen = []

    def function() -> None:
        seen.append(task.func)

    task = BackgroundTask(function)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await task()

    asyncio.run(call(Recorder(app, Journal(tmp_path / "journal.jsonl"))))
    assert seen == [function]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_pass_through(tmp_path: Path, kind: str) -> None:
    given: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given.extend((scope["type"], send.__name__))

    asyncio.run(call(Recorder(app, Journal(tmp_path / "journal.jsonl")), kind))
    assert given == [kind, "send"]
    assert not (tmp_path / "journal.jsonl").exists()


@pytest.mark.usefixtures("installed")
def test_tasks_outside_of_a_request_run_unrecorded() -> None:
    ran: list[int] = []
    tasks = BackgroundTasks()
    tasks.add_task(ran.append, 1)
    asyncio.run(tasks())
    assert ran == [1]
    assert HTTPException(404).status_code == 404


@pytest.mark.usefixtures("installed")
def test_each_call_has_its_own_request(tmp_path: Path) -> None:
    ran: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def both() -> None:
        await call(Recorder(app, Journal(tmp_path / "journal.jsonl")))
        await BackgroundTask(ran.append, 1)()

    asyncio.run(both())
    assert ran == [1]
    assert describe_events(read(tmp_path / "journal.jsonl")) == ["request_received", "request_finished"]


@pytest.mark.usefixtures("installed")
def test_a_cancelled_task_fails_with_cancelled_error(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()  # the waiting task continues when this one waits
        await BackgroundTask(asyncio.sleep, 3600)()

    async def cancel() -> None:
        task = asyncio.create_task(call(Recorder(app, Journal(tmp_path / "journal.jsonl"))))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(cancel())
    errors = {event["event"]: event["error"] for event in read(tmp_path / "journal.jsonl") if "error" in event}
    assert errors == {"task_failed": "CancelledError", "request_finished": "CancelledError"}


def test_unfinished_are_queued_and_running_tasks(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks = BackgroundTasks()
        tasks.add_task(lambda: counts.append(len(recording.unfinished())))
        tasks.add_task(lambda: counts.append(len(recording.unfinished())))
        await tasks()

    counts: list[int] = []
    recording = Recorder(app, Journal(tmp_path / "journal.jsonl"))
    instrument.install()
    try:
        asyncio.run(call(recording))
    finally:
        instrument.uninstall()
    assert [*counts, len(recording.unfinished())] == [2, 1, 0]


def test_uninstall_restores_starlette() -> None:
    def methods() -> list[object]:
        return [BackgroundTask.__call__, BackgroundTasks.add_task, HTTPException.__init__]

    instrument.uninstall()  # another test may have installed it
    before = methods()
    instrument.install()
    wrapped = methods()
    instrument.install()
    assert methods() == wrapped
    assert wrapped != before
    assert [inspect.signature(each) for each in wrapped] == [inspect.signature(each) for each in before]  # type: ignore[arg-type]
    assert inspect.iscoroutinefunction(wrapped[0])
    instrument.uninstall()
    instrument.uninstall()
    assert methods() == before
    assert "background" not in vars(Response)
    assert "__init_subclass__" not in vars(BackgroundTask)


@pytest.mark.usefixtures("installed")
def test_an_error_without_a_text_is_recorded_by_its_type(tmp_path: Path) -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not a word")

    assert describe(SilentError()) == "SilentError"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_task_whose_error_has_no_text_is_failed(tmp_path: Path, raised: type[BaseException]) -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise raised

    def work() -> None:
        raise SilentError

    response = PlainTextResponse("ok", background=BackgroundTask(work))
    journal = Journal(tmp_path / "journal.jsonl")
    asyncio.run(call(Recorder(response, journal)))
    failed = [event["error"] for event in read(journal.path) if event["event"] == "task_failed"]
    assert failed == ["SilentError"]


START = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    "messages",
    [
        [START, {"type": "http.response.body", "body": None}],
        [START, {"type": "http.response.body", "body": 1}],
        [START, {}],
        [START, None],
        [{"type": "http.response.start"}],
        [{"type": "http.response.start", "status": "200"}],
        [{"type": "http.response.start", "status": None}],
        [{"type": "http.response.start", "status": 200, "headers": None}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"a", b"b", b"c")]}],
        [{"type": "http.response.start", "status": 200, "headers": [("content-length", "1")]}],
        [{"type": "http.response.start", "status": 200, "headers": [(None, None)]}],
    ],
)
def test_message_that_is_not_valid_reaches_the_server(tmp_path: Path, messages: list[Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    recorded = Recorder(app, Journal(tmp_path / "journal.jsonl"))
    assert asyncio.run(call(recorded)) == asyncio.run(call(app)) == [*messages, {"returned": None}]
