"""The state of one request, and of its background tasks."""

import itertools
import os
import re
import threading
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from typing import Literal

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response
from starlette.types import Scope

from fastbg.clock import monotonic_ns
from fastbg.recorder import journal_events
from fastbg.recorder.files import RequestFiles
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import DropReason, task_text
from fastbg.recorder.made_tasks import MadeTasks
from fastbg.recorder.naming import describe, task_name
from fastbg.recorder.request_ids import HEADER
from fastbg.recorder.response_record import ResponseRecord
from fastbg.recorder.task_record import Runnable, TaskRecord, why_dropped
from fastbg.recorder.tracebacks import format_traceback

_VALID = re.compile(rb"[\x20-\x7e]{1,128}")
_HEADER = HEADER.lower().encode()

_prefix = ""  # of the ids that this process makes
_number = itertools.count(1_000_000_000)  # all with the same length


def _choose_prefix() -> None:
    global _prefix
    _prefix = os.urandom(11).hex()


_choose_prefix()
os.register_at_fork(after_in_child=_choose_prefix)

_CALLED = "_fastbg_called"  # an attribute of Starlette's object
_LATE = "_fastbg_late"  # another one: the record of a task that was queued after its request
_AGAIN = "an earlier request has already called it: its response object was returned again"
_BEHIND = "behind the BaseHTTPMiddleware {}, Starlette before 1.7 starts it before the last byte is sent"

current_request: ContextVar["RequestRecord | None"] = ContextVar("fastbg_request", default=None)


class RequestRecord:
    """Records the events of one request and of its tasks.

    ``name``: method and path. ``call``: the app's call. ``tasks``: by the id of Starlette's object. ``made``: the tasks
    that nothing has queued or called. ``middleware``: the name of a BaseHTTPMiddleware around the app that starts tasks
    before the response is sent, None without one. ``has_ended``: the app's call has ended. ``detached``: the tasks of
    all requests that continue after this.
    """

    call: Awaitable[None] | None = None
    has_ended = False
    made: MadeTasks | None = None
    middleware: str | None = None
    _sending: dict[str, tuple[str, int]] | None = None  # name and number of each task that is being sent to a broker

    def __init__(
        self,
        scope: Scope,
        journal: Journal,
        received_ns: int,
        files: Sequence[str],
        detached: set[TaskRecord],
        all_sizes: bool,  # called once per request: by position in half the time
    ) -> None:
        client_id, x_request_id = _take_ids(scope)
        if client_id is None:
            self.id = request_id = f"{_prefix}{next(_number)}"
            self.text = f'"{request_id}"'
        else:
            self.id, self.text = client_id, journal_events.request_text(client_id)
        self._journal = journal
        # `fastbg demo`, which needs the sizes, sends an id for each request.
        self._files = None if client_id is None and not all_sizes else RequestFiles(files)
        self._detached = detached
        self._method = method = scope["method"]
        self._path = path = scope["path"]
        self._numbers = itertools.count()  # used by several threads
        self.tasks: dict[int, TaskRecord] = {}
        self.response = ResponseRecord(self.text, scope, journal, self._files)
        self.received_ns = received_ns
        # All requests of a turn of the event loop share one system call, half the cost of a line. What `fastbg demo`
        # sends is with the kernel before the app is called, also if this kills the process.
        write = journal.write_later if client_id is None else journal.write
        write(journal_events.request_received(self.text, method, path, received_ns, x_request_id))

    @property
    def name(self) -> str:
        return f"{self._method} {self._path}"

    def make(self, task: BackgroundTask) -> None:
        """Record that ``task`` was made. If nothing ever calls it, it is dropped."""
        if not self.has_ended:
            self.made = self.made or MadeTasks()
            self.made.add(task)

    def give(self, background: BackgroundTask, response: Response) -> None:
        """Record that ``response`` has ``background``."""
        if not self.has_ended:
            self.made = self.made or MadeTasks()
            self.made.give(background, response)

    def queue(self, task: Runnable, tasks: BackgroundTasks | None, detail: str | None = None) -> TaskRecord:
        """Record that ``task`` was added to ``tasks``, or that a task without a collection is about to start."""
        name, n = task_name(getattr(task, "func", task)), next(self._numbers)
        text = task_text(name, n)
        if not self.has_ended:
            queued = self.tasks[id(task)] = TaskRecord(name, self.name, n, task, tasks, text, self.response.sent)
        else:  # a context may outlive the request by hours: the record lives as long as the user's object
            queued = TaskRecord(name, self.name, n, None, None, text)
            if isinstance(task, BackgroundTask):
                task.__dict__[_LATE] = queued
        if self.made is not None:
            self.made.remove(task)
        self._journal.write(journal_events.task_queued(self.text, text, detail=detail))
        return queued

    def begin(self, task: Runnable) -> TaskRecord:
        """Record that Starlette calls ``task``. A second call of the same object is recorded as another task.

        The calls that the ``__call__`` of its own class makes are tries of the same task.
        """
        called = self.tasks.get(id(task))
        if called is None and self.has_ended:
            called = getattr(task, _LATE, None)
        if called is None or (called.has_turn and not called.own_call):
            again = called is None and isinstance(task, BackgroundTask) and _CALLED in task.__dict__
            called = self.queue(task, None, _AGAIN if again else None)
        if isinstance(task, BackgroundTask):
            task.__dict__[_CALLED] = True
        called.has_turn, called.after_response = True, self.response.sent
        return called

    def start(
        self,
        task: TaskRecord,
        where: Literal["thread", "loop"],
        t_ns: int | None = None,
        waited_ms: float | None = None,
    ) -> None:
        held = self.response.held
        if held is not None:
            held.look()
        thread_id = None
        if where == "thread":
            task.thread, thread_id = threading.get_ident(), threading.get_native_id()
            t_ns = monotonic_ns() if held is not None else t_ns  # its function has not started yet
        task.started_ns = t_ns = t_ns or monotonic_ns()
        if held is not None and thread_id is None:  # what is held here is held until the step of the event loop ends
            held.look()
        detail = None if task.after_response or self.middleware is None else _BEHIND.format(self.middleware)
        self._journal.write(
            journal_events.task_started(self.text, task.text, thread_id, t_ns=t_ns, waited_ms=waited_ms, detail=detail)
        )

    def blocked(self, task: TaskRecord, took_ns: int) -> None:
        self._journal.write(journal_events.loop_blocked(self.text, ms=took_ns / 1e6, task=task.text))

    def end(self, task: TaskRecord, error: BaseException | None) -> None:
        held = self.response.held
        if held is not None:
            held.look()
        t_ns = monotonic_ns()  # before the source files are read
        task.ended = True
        self._detached.discard(task)
        if held is not None:
            held.look()
        if error is not None:
            task.error, traceback = describe(error), format_traceback(error)
            line = journal_events.task_failed(self.text, task.text, t_ns=t_ns, error=task.error, traceback=traceback)
        elif task.not_run is not None:
            line = journal_events.task_failed(self.text, task.text, t_ns=t_ns, error=task.not_run, traceback=None)
        else:
            line = journal_events.task_finished(self.text, task.text, t_ns=t_ns)
        self._journal.write(line)

    def give_up(self, task: TaskRecord, error: BaseException) -> None:
        """Record that the call of ``task`` ended with ``error``: if it has not got a thread, it will never start."""
        if not task.started:
            task.has_turn = False
            if self.has_ended:
                self._drop(task, error)

    def send(self, message_id: str, name: str) -> int:
        """Record that a task is about to be sent to a broker, and return its number."""
        n = next(self._numbers)
        self._sending = self._sending or {}
        self._sending[message_id] = name, n
        self._journal.write(journal_events.task_queued(self.text, task_text(name, n), where="worker"))
        return n

    def sent(self, message_id: str) -> None:
        """Record that the broker has the message. A worker records the rest."""
        if self._sending is not None:
            self._sending.pop(message_id, None)

    def finish(self, error: BaseException | None) -> None:
        """Record that the app's call has ended. A task that Starlette has not called by now will never start."""
        self.has_ended = True
        self.response.finish()
        if self.tasks:
            self._leave_tasks(error)
            self.tasks.clear()  # a context may keep this record longer than the request: release the user's objects
        if self.made is not None:
            for made in self.made.never_called(error):
                self._write_dropped(made.name, next(self._numbers), "never-called", made.why)
        if self._sending:
            for name, n in self._sending.values():
                self._write_dropped(name, n, "broker", "the broker did not confirm the task")
        sizes = None if self._files is None else self._files.sizes()
        if error is None:
            self._journal.write_later(
                journal_events.request_finished(self.text, files=sizes, error=None, traceback=None)
            )
        else:
            what, traceback = describe(error), format_traceback(error)
            self._journal.write(
                journal_events.request_finished(self.text, files=sizes, error=what, traceback=traceback)
            )

    def _leave_tasks(self, error: BaseException | None) -> None:
        for task in list(self.tasks.values()):  # a copy, because a thread may add tasks
            if task.has_turn and not task.ended:
                self._detached.add(task)
                if task.ended:  # in the meantime, in its thread
                    self._detached.discard(task)
            elif not task.started:
                self._drop(task, error)

    def _drop(self, task: TaskRecord, error: BaseException | None) -> None:
        self._detached.discard(task)
        holder = None if self.made is None else self.made.why(task.tasks)
        reason, detail = why_dropped(task, list(self.tasks.values()), self.response.handled, error, holder)
        self._write_dropped(task.name, task.n, reason, detail)

    def _write_dropped(self, task: str, n: int, reason: DropReason, detail: str) -> None:
        status = self.response.status
        self._journal.write(
            journal_events.task_dropped(self.text, task_text(task, n), status=status, reason=reason, detail=detail)
        )


def _take_ids(scope: Scope) -> tuple[str | None, str | None]:
    """Return the id of fastbg's client and the ``X-Request-ID``, if they are printable ASCII of at most 128 characters.

    The header of fastbg's client is removed, so that an app that forwards all headers does not use the id again.
    """
    client_id = x_request_id = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if x_request_id is None and _VALID.fullmatch(value):
                x_request_id = str(value, "ascii")
        elif name == _HEADER and client_id is None and _VALID.fullmatch(value):
            client_id = str(value, "ascii")
    if client_id is not None:
        scope["headers"] = [header for header in scope["headers"] if header[0] != _HEADER]
    return client_id, x_request_id
