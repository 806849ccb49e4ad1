"""Writes what happens to the background tasks of an ASGI app to a journal, without a change to the app.

`Recorder` is an ASGI app around the user's: it sees the request, the response and the end. What `fastbg.hooks` puts
into Starlette's classes sees the tasks; `current_request` tells it which request they belong to.

The events of the journal, and what each has beside time, process and request:

==================== ==================================================================================
request_received     ``method``, ``path``
task_queued          ``task`` (module.qualname), ``n``: its number in this request, from 0. A task that was
                     given to a response directly is seen, and numbered, when it is its turn
response_sent        the server took the last part of the body: ``status``; ``bytes`` of the body;
                     ``sending_ns``: right before that part was handed over, where the event's time is right
                     after; ``files``: path to size in bytes right before, told only where the client sent an
                     ``X-Request-ID``; ``files_after``: right after, only where it is not the same; ``buffered``:
                     bytes that the server's process still holds, null if it cannot be known
response_lost        the client had gone, the server threw the last part away: ``status``
task_started         ``task``, ``n``, ``where``: "thread" (in the thread, not while it waits for one) or "loop";
                     of a thread also ``waited_ms``: from its turn until a thread was free
loop_blocked         ``task``, ``n``, ``ms``: so long did the event loop do nothing but one step of an ``async def``
                     task, that is from one ``await`` that waits to the next; told from `BLOCKED_NS` on
task_finished        ``task``, ``n``
task_failed          ``task``, ``n``, ``error``; a cancelled task fails with "CancelledError"
task_dropped         ``task``, ``n``, ``status``, ``reason``, ``detail``: the request ended and the task was never
                     started. Reasons: ``exception``, ``earlier-task-failed``, ``own-response``, ``unknown``
request_finished     the app's call ended, background work included: ``files``, as above; ``error`` if it raised
shutdown             of no request: ``unfinished``: how many tasks were queued or running when the server told the app
                     to shut down (or left at once, after a second Ctrl-C). Not told where there were none. uvicorn
                     cancels before: what ends by that is told as failed or dropped, what runs in threads goes on
events_lost          of no request: ``count``: so many events of this process are not there, for want of room or since
                     the folder was taken away; told by `fastbg.journal` as soon as it can write again
==================== ==================================================================================

``buffered`` is not a formality. uvloop up to 0.22 sends nothing (below 64 KiB) before the current step of the event
loop is over: an ``async def`` task that blocks then holds up its own response, and ``buffered`` is its size. asyncio
and uvloop 0.23 send at once what the kernel takes, and keep the rest of a big response (some megabytes).
"""

import functools
import itertools
import os
import random
import re
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from time import monotonic_ns
from typing import Any

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.journal import Journal, encode

BLOCKED_NS = 50_000_000  # a step of the event loop that takes longer blocks it
LONGEST = 1000  # bytes of a name, a path, an error; also of what clients send, so that what is kept of it is bounded
NOT_CONFIRMED = "the broker did not say that it has the task"

_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")

_new_ids = random.Random()  # noqa: S311  # names, not secrets; unlike `os.urandom` it keeps the interpreter lock

_current: ContextVar["Request | None"] = ContextVar("fastbg_request", default=None)


def current_request() -> "Request | None":
    """The request that this code runs for, if any."""
    return _current.get()


class Recorder:
    """An ASGI app that records what ``app`` does to ``journal``; the sizes of ``files`` are told with the response.

    Call `fastbg.hooks.install` as well, or the tasks are not seen. Scopes other than "http" pass through; of "lifespan"
    the shutdown is noted on its way.
    """

    def __init__(self, app: ASGIApp, journal: Journal, files: Iterable[Path] = ()) -> None:
        self.app = app
        self.journal = journal
        self._requests: set[Request] = set()
        self.outliving: set[Task] = set()  # in threads, or waiting for one: the app's call does not wait for them
        self.sizes = sizes_of(files)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, self._until_shutdown(receive), send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        self.journal.check()
        request = Request(self, scope)
        self._requests.add(request)
        token = _current.set(request)
        try:
            await self.app(scope, receive, request.watch(send))
        except BaseException as error:
            request.finish(error)
            raise
        else:
            request.finish(None)
        finally:
            _current.reset(token)
            self._requests.discard(request)

    @property
    def unfinished(self) -> int:
        """How many tasks are queued or running at this moment."""
        tasks = [task for request in list(self._requests) for task in list(request.tasks.values())]
        return sum(task.state != "ended" for task in tasks) + len(self.outliving)

    def shut_down(self) -> int:
        """The server ends: how many tasks are queued or running, which is told to the journal if there are any."""
        unfinished = self.unfinished
        if unfinished:
            self.journal.write("null", "shutdown", f',"unfinished":{unfinished}')
        return unfinished

    def _until_shutdown(self, receive: Receive) -> Receive:
        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.shut_down()
            return message

        return heard


def sizes_of(files: Iterable[Path]) -> Callable[[], str]:
    """A function that returns a field with those of ``files`` that exist, and their sizes in bytes."""
    names = [(encode(str(path), 5000), str(path)) for path in files]

    def sizes() -> str:
        found = []
        for name, path in names:
            with suppress(OSError):
                found.append(f"{name}:{os.stat(path).st_size}")  # noqa: PTH116  # half the time of Path.stat
        return ',"files":{' + ",".join(found) + "}"

    return sizes


class Request:
    """What is known of one request while its app's call goes on.

    ``write``: appends an event of this request. ``tasks``: by the id of Starlette's object.
    """

    status: int | None = None
    sent = False
    over = False
    handled: str | None = None
    noted: tuple[int, str] | None = None

    def __init__(self, recorder: Recorder, scope: Scope) -> None:
        client_id = _client_id(scope)
        self.id = client_id or f"{_new_ids.getrandbits(128):032x}"
        self.write = functools.partial(recorder.journal.write, encode(self.id, 300))
        self.outliving = recorder.outliving
        # Only a client that can tell its requests apart has a use for the sizes of the files.
        self._sizes = recorder.sizes if client_id else str
        self.tasks: dict[int, Task] = {}
        self._sending: dict[str, str] = {}  # messages on their way to a broker
        self.numbers = itertools.count()  # shared by threads
        self.write(
            "request_received",
            f',"method":{_encoded(scope["method"][:LONGEST])},"path":{_encoded(scope["path"][:LONGEST])}',
        )

    def watch(self, send: Send) -> Send:
        """``send``, with the response noted on its way."""
        size = 0

        def watched(message: Message) -> Awaitable[None]:
            nonlocal size
            kind = message["type"]
            if kind == "http.response.start":
                self.status = message["status"]
                error = sys.exception()
                if error is not None:  # an exception handler is what sends this response
                    self.handled = f"{type(error).__name__} {self.status}"
            elif kind == "http.response.body":
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return self._send_last(send, message, size)
            return send(message)

        return watched

    async def _send_last(self, send: Send, message: Message, size: int) -> None:
        sizes = self._sizes()
        sending_ns = monotonic_ns()
        await send(message)
        t_ns = monotonic_ns()
        self.sent = True
        cycle: Any = getattr(send, "__self__", None)  # of uvicorn, unless something else stands between
        if getattr(cycle, "disconnected", False):
            self.write("response_lost", f',"status":{self.status or "null"}', t_ns)
            return
        try:
            buffered = str(cycle.transport.get_write_buffer_size())
        except (AttributeError, RuntimeError, NotImplementedError):
            buffered = "null"
        after = self._sizes()
        if after != sizes:  # something was written meanwhile
            sizes += after.replace("files", "files_after", 1)
        fields = f',"status":{self.status or "null"},"bytes":{size},"sending_ns":{sending_ns}{sizes}'
        self.write("response_sent", f'{fields},"buffered":{buffered}', t_ns)

    def queue(self, task: BackgroundTask, tasks: BackgroundTasks | None) -> "Task":
        """``task`` was added to ``tasks``, or has just been met."""
        queued = self.tasks[id(task)] = Task(self, task, tasks)
        self.write("task_queued", queued.fields)
        return queued

    def begin(self, task: BackgroundTask) -> "Task":
        """It is the turn of ``task``; one that runs a second time counts as another one."""
        begun = self.tasks.get(id(task))
        if begun is None or begun.begun:
            begun = self.queue(task, None)
        begun.begun = True
        return begun

    def send(self, message_id: str, name: str) -> tuple[int, str]:
        """A message for a task called ``name`` is about to go to a broker: the task's number, and its fields."""
        n = next(self.numbers)
        fields = self._sending[message_id] = f',"task":{_encoded(name)},"n":{n}'
        return n, fields

    def sent_to_broker(self, message_id: str) -> None:
        """The broker has the message: what becomes of it is not this process's affair."""
        self._sending.pop(message_id, None)

    def note(self, error: HTTPException) -> None:
        """``error`` was made, which does not say that it was raised."""
        self.noted = error.status_code, f"{type(error).__name__} {error.status_code}"

    def finish(self, error: BaseException | None) -> None:
        """The app's call ended: what was queued and whose turn has not come never will be done."""
        for task in self.tasks.values():
            if task.begun and task.state != "ended":
                self.outliving.add(task)
                if task.state == "ended":  # just now, in its thread
                    self.outliving.discard(task)
            elif task.state == "queued":
                self.drop(task, error)
        for sending in self._sending.values():
            why = f',"reason":"broker","detail":{_encoded(NOT_CONFIRMED)}'
            self.write("task_dropped", f'{sending},"status":{self.status or "null"}{why}')
        fields = self._sizes()
        if error is not None:
            fields += f',"error":{encode(describe(error), LONGEST)}'
        self.write("request_finished", fields)
        self.tasks.clear()  # they know this request: nothing is left to the garbage collector
        self.over = True

    def drop(self, task: "Task", error: BaseException | None) -> None:
        """``task`` was queued and will not be done; ``error``: what ended the call that should have done it."""
        self.outliving.discard(task)
        reason, detail = self._why_dropped(task, error)
        why = f',"reason":"{reason}","detail":{encode(detail, LONGEST)}'
        self.write("task_dropped", f'{task.fields},"status":{self.status or "null"}{why}')

    def _why_dropped(self, task: "Task", error: BaseException | None) -> tuple[str, str]:
        """The reason as a word, and for people. Only what was seen is named as a cause."""
        members = _members(task.tasks)
        ran = [other for other in self.tasks.values() if other.state != "queued"]
        for other in ran:
            if other.error is not None and id(other.task) in members:
                return "earlier-task-failed", f"{other.name} raised {other.error}"
        if self.handled:
            return "exception", self.handled
        if self.noted and self.noted[0] == self.status:
            return "exception", self.noted[1]
        for other in ran:
            if other.after_response and id(other.task) not in members:
                return "own-response", f"the response had a background of its own: {other.name}"
        if error is not None:
            return "exception", describe(error)
        return "unknown", "no exception was seen, and nothing started the tasks that this one was added to"


class Task:
    """One background task of a request.

    ``begun``: its turn has come, though it may still wait for a thread. ``state``: queued, started or ended.
    ``error``: what it raised, as text. ``after_response``: it started after the response was sent.
    """

    begun = False
    state = "queued"
    error: str | None = None
    after_response = False

    def __init__(self, request: Request, task: BackgroundTask, tasks: BackgroundTasks | None) -> None:
        self.request = request
        self.task = task
        self.tasks = tasks
        self.name = task_name(task.func)
        self.fields = f',"task":{_encoded(self.name)},"n":{next(request.numbers)}'

    def start(self, how: str, t_ns: int | None = None) -> None:
        self.state = "started"
        self.after_response = self.request.sent
        self.request.write("task_started", self.fields + how, t_ns)

    def end(self, error: BaseException | None) -> None:
        self.state = "ended"
        self.request.outliving.discard(self)
        if error is None:
            self.request.write("task_finished", self.fields)
        else:
            self.error = describe(error)
            self.request.write("task_failed", f'{self.fields},"error":{encode(self.error, LONGEST)}')

    def turn_passed(self, error: BaseException) -> None:
        """The call that waited for a thread came to an end by ``error``: without one, the task will not start."""
        if self.state == "queued":
            self.begun = False
            if self.request.over:
                self.request.drop(self, error)

    def in_thread(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, whose turn it is, with its start and end written by the thread that runs it."""
        turn_ns = monotonic_ns()

        def run(*args: Any, **kwargs: Any) -> Any:  # as the user's function takes and returns
            t_ns = monotonic_ns()
            self.start(f',"where":"thread","waited_ms":{(t_ns - turn_ns) / 1e6:.3f}', t_ns)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.end(error)
                raise
            self.end(None)
            return result

        return run

    @types.coroutine
    def in_steps(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """``coroutine``, awaited as it is, with every step of it timed: what it yields, gets, returns and raises."""
        step: Callable[[Any], Any] = coroutine.send
        value: Any = None
        while True:
            begin_ns = monotonic_ns()
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            finally:
                value = None  # an error that it refers to would refer to it
                took_ns = monotonic_ns() - begin_ns
                if took_ns > BLOCKED_NS:
                    self.request.write("loop_blocked", f'{self.fields},"ms":{took_ns / 1e6:.3f}')
            try:
                step, value = coroutine.send, (yield waits_for)
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # a cancellation, say: it is the coroutine's to answer
                step, value = coroutine.throw, error


def describe(error: BaseException) -> str:
    """``"ValueError: text"``, or the type alone where there is no text."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the user's own __str__ may do anything
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def task_name(function: Any) -> str:
    """``module.qualname`` of a function, of what a partial calls, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(getattr(function, "__qualname__", None), str):
        function = type(function)
    return f"{getattr(function, '__module__', None) or '?'}.{function.__qualname__}"


@functools.lru_cache(maxsize=1024)
def _encoded(text: str) -> str:
    return encode(text, LONGEST)


def _client_id(scope: Scope) -> str | None:
    """The client's ``X-Request-ID``, unless it is one that cannot be trusted."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return None


def _members(tasks: BackgroundTasks | None) -> set[int]:
    """The ids of all tasks in ``tasks``, those of collections inside included."""
    members: set[int] = set()
    collections = [tasks] if tasks is not None else []
    while collections:
        for task in collections.pop().tasks:
            if isinstance(task, BackgroundTasks) and id(task) not in members:
                collections.append(task)
            members.add(id(task))
    return members
