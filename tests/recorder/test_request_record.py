"""The events of one request in this process: its tasks, their ends, and the end of the app's call."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from pathlib import Path
from typing import Literal

import anyio.to_thread
import pytest
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from fastbg.clock import monotonic_ns
from fastbg.recorder import instrument, middleware
from fastbg.recorder.journal import Journal
from fastbg.recorder.loop_watch import LoopWatch
from fastbg.recorder.made_tasks import MadeTask, MadeTasks
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.request_record import RequestRecord, current_request
from fastbg.recorder.task_record import TaskRecord
from fastbg.recorder.unfinished import Unfinished, unfinished_task
from tests.support.journals import Fields, describe_events, read

App = Callable[[Send], Awaitable[None]]
SCOPE = {"type": "http", "method": "GET", "path": "/a", "headers": [(b"x-fastbg-request-id", b"r1")]}


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    instrument.install()
    yield
    instrument.uninstall()


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def ignore(message: Message) -> None:
    pass


def events(folder: Path, app: App) -> list[Fields]:
    """Return the events of a request that ``app`` serves. Its exception is ignored."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["headers"] == []  # an app that forwards its headers must not use the id again
        await app(send)

    journal = Journal(folder / "journal.jsonl")
    recorder = Recorder(served, journal, [folder / "log.txt"])
    (folder / "log.txt").touch()

    async def run() -> None:
        with suppress(LookupError):
            await recorder({**SCOPE}, receive, ignore)
        assert current_request.get() is None
        assert recorder.unfinished() == []

    asyncio.run(run())
    return read(journal.path)


def work() -> None:
    pass


def fail() -> None:
    raise LookupError("no")


async def respond(send: Send, background: BackgroundTask | None = None) -> None:
    await PlainTextResponse("x", background=background)(SCOPE, receive, send)


def test_incomplete_response_is_lost_at_the_end_of_the_call(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert describe_events(events(tmp_path, app)) == ["request_received", "response_lost", "request_finished"]


def test_tasks_have_numbers_places_and_their_order(tmp_path: Path) -> None:
    async def other() -> None:
        pass

    async def app(send: Send) -> None:
        tasks = BackgroundTasks()
        tasks.add_task(work)
        tasks.add_task(other)
        await respond(send, tasks)

    found = events(tmp_path, app)
    name, inner = f"{__name__}.work", f"{__name__}.{other.__qualname__}"
    assert describe_events(found) == [
        "request_received",
        f"task_queued {name} 0",
        f"task_queued {inner} 1",
        "response_sent",
        f"task_started {name} 0",
        f"task_finished {name} 0",
        f"task_started {inner} 1",
        f"task_finished {inner} 1",
        "request_finished",
    ]
    assert {event["request"] for event in found} == {"r1"}
    assert (found[0]["method"], found[0]["path"]) == ("GET", "/a")
    assert [event["where"] for event in found if event["event"] == "task_started"] == ["thread", "loop"]
    assert [event["waited_ms"] >= 0 for event in found if "waited_ms" in event] == [True]
    assert [(event["event"], event["n"]) for event in found if "thread_id" in event] == [("task_started", 0)]
    assert found[-1]["files"] == {str(tmp_path / "log.txt"): 0}
    assert not any("error" in event for event in found)


def test_task_in_a_thread_has_the_id_of_the_thread_that_runs_it(tmp_path: Path) -> None:
    ran: list[int] = []

    def note() -> None:
        ran.append(threading.get_native_id())

    async def app(send: Send) -> None:
        await respond(send, BackgroundTask(note))

    (started,) = (event for event in events(tmp_path, app) if event["event"] == "task_started")
    assert ran == [started["thread_id"]]
    assert ran != [threading.get_native_id()]


def test_failed_task_drops_the_later_ones(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        tasks = BackgroundTasks()
        tasks.add_task(fail)
        tasks.add_task(work)
        await respond(send, tasks)

    *_, failed, dropped, finished = events(tmp_path, app)
    assert (failed["event"], failed["error"], failed["n"]) == ("task_failed", "LookupError: no", 0)
    assert failed["traceback"].endswith(' in fail\n      raise LookupError("no")')
    assert (dropped["event"], dropped["n"], dropped["reason"], dropped["status"]) == (
        "task_dropped",
        1,
        "earlier-task-failed",
        200,
    )
    assert (finished["event"], finished["error"]) == ("request_finished", "LookupError: no")


def test_exception_of_the_app_drops_its_tasks(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        BackgroundTasks().add_task(work)
        fail()

    *_, dropped, finished = events(tmp_path, app)
    assert (dropped["event"], dropped["reason"], dropped["detail"]) == ("task_dropped", "exception", "LookupError: no")
    assert finished["error"] == "LookupError: no"
    assert finished["traceback"].endswith(' in fail\n      raise LookupError("no")')


def test_task_that_the_response_does_not_have_is_dropped(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        BackgroundTasks().add_task(work)
        await respond(send)

    dropped = events(tmp_path, app)[-2]
    assert (dropped["event"], dropped["reason"], dropped["detail"]) == (
        "task_dropped",
        "unknown",
        "the recorder saw no cause",
    )


def test_first_valid_header_of_the_client_is_its_own_id(tmp_path: Path) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    own = [(b"x-request-id", value) for value in (b"\xff", b"mine", b"other")]
    asyncio.run(recorder({**SCOPE, "headers": own}, receive, ignore))
    assert read(tmp_path / "journal.jsonl")[0]["x_request_id"] == "mine"


def test_task_that_is_called_twice_is_two_tasks(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        task = BackgroundTask(work)
        await task()
        await respond(send, task)

    found = describe_events(events(tmp_path, app))
    assert [event.rpartition(".work ") for event in found if "finished" in event][:2] == [
        (f"task_finished {__name__}", ".work ", "0"),
        (f"task_finished {__name__}", ".work ", "1"),
    ]
    assert not any("dropped" in event for event in found)


def test_task_that_failed_is_another_task_when_called_again(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        task = BackgroundTask(fail)
        for _ in range(2):
            with suppress(LookupError):
                await task()

    found = [event for event in events(tmp_path, app) if event["event"] in ("task_queued", "task_failed")]
    assert [event["n"] for event in found] == [0, 0, 1, 1]


def test_task_before_the_response_names_the_middleware(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        request = current_request.get()
        assert request is not None
        request.middleware = "shop.timed"
        await BackgroundTask(work)()
        await respond(send, BackgroundTask(work))

    started = [event for event in events(tmp_path, app) if event["event"] == "task_started"]
    assert [event.get("detail") for event in started] == [
        "behind the BaseHTTPMiddleware shop.timed, Starlette before 1.7 starts it before the last byte is sent",
        None,
    ]


@pytest.mark.parametrize("later", [False, True])
def test_wait_for_a_thread_that_is_given_up_is_a_drop(tmp_path: Path, later: bool) -> None:
    """Whether the wait ends before the app's call or after it."""
    started, released = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        released.wait()

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        first = asyncio.create_task(BackgroundTask(hold)())
        while not started.is_set() and not first.done():
            await asyncio.sleep(0)
        waiting = asyncio.create_task(BackgroundTask(work)())
        await asyncio.sleep(0)
        others.extend((waiting, first))
        if not later:
            await cancel(waiting)

    async def cancel(waiting: asyncio.Task[None]) -> None:
        waiting.cancel()
        await asyncio.wait([waiting])

    async def run() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        try:
            await recorder({**SCOPE}, receive, ignore)
            unfinished.extend(each.state for each in recorder.unfinished())
            if later:
                await cancel(others[0])
        finally:
            released.set()
        await others[1]
        assert recorder.unfinished() == []

    others: list[asyncio.Task[None]] = []
    unfinished: list[str] = []
    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    asyncio.run(run())
    assert unfinished == ["in a thread", *(["waits for a thread"] if later else [])]
    ends = [event for event in read(tmp_path / "journal.jsonl") if event["event"] in ("task_dropped", "task_finished")]
    assert [(event["event"], event["task"].rpartition(".")[2]) for event in ends] == [
        ("task_dropped", "work"),
        ("task_finished", "hold"),
    ]


def test_ended_request_needs_no_memory(tmp_path: Path) -> None:
    """A context may keep its record, which then must not keep the user's objects, nor the recorder the record."""
    kept: list[RequestRecord] = []

    async def app(send: Send) -> None:
        request = current_request.get()
        assert request is not None
        kept.append(request)
        await respond(send, BackgroundTask(work))

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app(send)

    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    asyncio.run(recorder({**SCOPE}, receive, ignore))
    assert kept[0].tasks == {}
    assert kept[0].has_ended
    recorder.close()  # its watch may hold the frames of a slow request
    gone = weakref.ref(kept.pop())
    gc.collect()
    assert gone() is None


def test_tasks_after_the_request_are_recorded_and_not_kept(tmp_path: Path) -> None:
    """A poller that an endpoint starts has its context for hours."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        context.append(copy_context())
        await respond(send)

    async def poll() -> None:
        called, forgotten = BackgroundTasks(), BackgroundTasks()
        called.add_task(work)
        forgotten.add_task(work)
        await called()
        Response(background=forgotten)
        gone.extend(weakref.ref(tasks.tasks[0]) for tasks in (called, forgotten))

    async def run() -> None:
        await recorder({**SCOPE}, receive, ignore)
        await asyncio.create_task(poll(), context=context[0])

    context: list[Context] = []
    gone: list[weakref.ref[BackgroundTask]] = []
    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    asyncio.run(run())
    request = context[0][current_request]
    assert request is not None
    assert (request.tasks, request.made) == ({}, None)
    assert [each() for each in gone] == [None, None]
    names = [event["event"] for event in read(tmp_path / "journal.jsonl")]
    assert names[-5:] == ["request_finished", "task_queued", "task_queued", "task_started", "task_finished"]


class Held:
    """A response of which the server holds a part. ``looks``: when it was looked at."""

    def __init__(self) -> None:
        self.looks: list[int] = []

    def look(self) -> None:
        self.looks.append(monotonic_ns())


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_held_response_is_looked_at_when_a_task_starts_and_ends(
    tmp_path: Path, where: Literal["loop", "thread"]
) -> None:
    """What is held before the function starts, and after it has ended, shows the order."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        request = current_request.get()
        assert request is not None
        request.response.held = held  # type: ignore[assignment]
        task = request.queue(BackgroundTask(work), None)
        task.has_turn = True
        request.start(task, where, t_ns=1)
        looks.extend(held.looks)
        request.end(task, None)

    held, looks = Held(), list[int]()
    asyncio.run(Recorder(served, Journal(tmp_path / "journal.jsonl"))({**SCOPE}, receive, ignore))
    (started,) = [each["t_ns"] for each in read(tmp_path / "journal.jsonl") if each["event"] == "task_started"]
    (ended,) = [each["t_ns"] for each in read(tmp_path / "journal.jsonl") if each["event"] == "task_finished"]
    if where == "thread":  # its own time is late enough: the function starts after the look
        assert len(looks) == 1
        assert looks[0] <= started
    else:
        assert len(looks) == 2
        assert started == 1
    before, after = held.looks[len(looks) :]
    assert before <= ended <= after


def test_task_made_by_a_thread_meanwhile_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_another(self: MadeTask) -> bool:
        others.append(BackgroundTask(work))
        made.add(others[-1])
        return False

    made, others = MadeTasks(), [BackgroundTask(work)]
    made.add(others[0])
    monkeypatch.setattr(MadeTask, "is_injected", property(make_another))
    assert made.never_called(None) == []
    asyncio.run(made.wait())


def test_unfinished_is_sorted_and_without_what_ends_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        request = current_request.get()
        assert request is not None
        tasks = [request.queue(BackgroundTask(work), None) for _ in range(8)]
        for started_ns, task in zip((40, 10, 30, 20, None), tasks, strict=False):
            task.started_ns = started_ns
        for task in tasks[5:]:
            ends_now.add(task)
        found.extend(each.since_ns for each in recorder.unfinished())

    def look(task: TaskRecord) -> Unfinished:
        task.ended = task in ends_now  # in its thread
        return unfinished_task(task)

    monkeypatch.setattr(middleware, "unfinished_task", look)
    ends_now: set[TaskRecord] = set()
    found: list[int | None] = []
    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    asyncio.run(recorder({**SCOPE}, receive, ignore))
    assert found == [10, 20, 30, 40, None]


def test_request_whose_tasks_have_ended_is_unfinished(tmp_path: Path) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await BackgroundTask(work)()
        found.extend(each.task for each in recorder.unfinished())

    found: list[str | None] = []
    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    asyncio.run(recorder({**SCOPE}, receive, ignore))
    assert found == [None]


def test_watch_knows_whether_a_call_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(recorder._watch._is_busy())
        if scope["path"] == "/fail":
            fail()

    async def run(kind: str, path: str) -> None:
        with suppress(LookupError):
            await recorder({**SCOPE, "type": kind, "path": path}, receive, ignore)
        found.append(recorder._watch._is_busy())

    found: list[bool] = []
    recorder = Recorder(served, Journal(tmp_path / "journal.jsonl"))
    starts: list[str] = []
    monkeypatch.setattr(LoopWatch, "start", lambda _: starts.append("start"))
    for kind in ("http", "websocket"):
        for path in ("/", "/fail"):
            asyncio.run(run(kind, path))
    assert found == [True, False] * 4
    assert starts == ["start"] * 4


def test_message_that_the_broker_has_is_not_dropped(tmp_path: Path) -> None:
    async def app(send: Send) -> None:
        request = current_request.get()
        assert request is not None
        assert [request.send(name, f"shop.{name}") for name in ("one", "two", "three")] == [0, 1, 2]
        request.sent("one")
        request.sent("three")
        request.sent("unknown")
        await respond(send)

    found = events(tmp_path, app)
    assert [event["where"] for event in found[1:4]] == ["worker"] * 3
    assert describe_events(found)[1:] == [
        "task_queued shop.one 0",
        "task_queued shop.two 1",
        "task_queued shop.three 2",
        "response_sent",
        "task_dropped shop.two 1 broker",
        "request_finished",
    ]
    assert found[-2]["detail"] == "the broker did not confirm the task"


def test_shutdown_is_recorded_while_tasks_are_unfinished(tmp_path: Path) -> None:
    """The app's call ends while a task waits in a thread."""
    journal = Journal(tmp_path / "journal.jsonl")
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def lifespan() -> Message:
        return messages.pop(0)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            assert read(journal.path)[-1]["event"] != "shutdown"
            await receive()
            return
        BackgroundTasks().add_task(work)
        assert len(recorder.unfinished()) == 1
        await recorder({"type": "lifespan"}, lifespan, ignore)

    recorder = Recorder(served, journal)
    asyncio.run(recorder({**SCOPE}, receive, ignore))
    assert recorder.unfinished() == recorder.shut_down() == []
    found = read(journal.path)
    assert [event["event"] for event in found].count("shutdown") == 1
    (shutdown,) = [event for event in found if event["event"] == "shutdown"]
    assert (shutdown["unfinished"], shutdown["requests"], shutdown["request"]) == (1, 0, None)


def test_only_requests_with_an_id_have_sizes_by_default(tmp_path: Path) -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    for all_sizes in (False, True):
        journal = Journal(tmp_path / f"{all_sizes}.jsonl")
        options = {"all_sizes": True} if all_sizes else {}
        recorder = Recorder(served, journal, [tmp_path / "log.txt"], **options)
        asyncio.run(recorder({**SCOPE, "headers": []}, receive, ignore))
        assert ["files" in event for event in read(journal.path)] == [False, all_sizes, all_sizes]


def test_each_process_makes_ids_of_its_own(tmp_path: Path) -> None:
    """A forked process has the same state as its parent."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()

    def make() -> None:
        for _ in range(2):
            RequestRecord({**SCOPE, "headers": []}, journal, 1, (), set(), False)

    make()
    child = os.fork()
    if child == 0:
        make()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    make()
    ids = [event["request"] for event in read(journal.path)]
    assert len(set(ids)) == len(ids) == 6
    assert {len(each) for each in ids} == {32}
