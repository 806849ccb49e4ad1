"""What is known of one request, while the app's call runs, and of its background tasks."""

import itertools
import random
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Literal

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.types import Scope

from fastbg.recorder import journal_events
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import DropReason
from fastbg.recorder.naming import describe, task_name
from fastbg.recorder.response_record import ResponseRecord
from fastbg.recorder.task_record import TaskRecord, why_dropped

_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")

_new_ids = random.Random()  # noqa: S311  # names, not secrets; unlike `os.urandom` it keeps the interpreter lock

current_request: ContextVar["RequestRecord | None"] = ContextVar("fastbg_request", default=None)


class RequestRecord:
    """Writes the events of one request and of its tasks.

    ``tasks``: by the id of Starlette's object. ``over``: the app's call has ended. ``outliving``: of all requests, the
    tasks that go on in spite of that.
    """

    over = False

    def __init__(
        self, scope: Scope, journal: Journal, sizes: Callable[[], Mapping[str, int]], outliving: set[TaskRecord]
    ) -> None:
        client_id = _client_id(scope)
        self.id = client_id or f"{_new_ids.getrandbits(128):032x}"
        self._write = journal.write
        # Only a client that can tell its requests apart has a use for the sizes of the files.
        self._sizes: Callable[[], Mapping[str, int] | None] = sizes if client_id else _no_sizes
        self._outliving = outliving
        self._numbers = itertools.count()  # shared by threads
        self._sending: dict[str, tuple[str, int]] = {}  # name and number of tasks on their way to a broker
        self.tasks: dict[int, TaskRecord] = {}
        self.response = ResponseRecord(self.id, journal, self._sizes)
        self._write(journal_events.request_received(self.id, scope["method"], scope["path"]))

    def queue(self, task: BackgroundTask, tasks: BackgroundTasks | None) -> TaskRecord:
        """Record that ``task`` was added to ``tasks``, or has just been met."""
        name, n = task_name(task.func), next(self._numbers)
        queued = self.tasks[id(task)] = TaskRecord(name, n, task, tasks)
        self._write(journal_events.task_queued(self.id, name, n))
        return queued

    def begin(self, task: BackgroundTask) -> TaskRecord:
        """Record that it is the turn of ``task``; one that runs a second time counts as another one."""
        begun = self.tasks.get(id(task))
        if begun is None or begun.has_turn:
            begun = self.queue(task, None)
        begun.has_turn = True
        return begun

    def start(
        self,
        task: TaskRecord,
        where: Literal["thread", "loop"],
        t_ns: int | None = None,
        waited_ms: float | None = None,
    ) -> None:
        """Record that ``task`` started, now or at ``t_ns``, after it ``waited_ms`` for a thread."""
        task.started = True
        task.after_response = self.response.sent
        self._write(journal_events.task_started(self.id, task.name, task.n, where, t_ns=t_ns, waited_ms=waited_ms))

    def blocked(self, task: TaskRecord, took_ns: int) -> None:
        """Record that one step of ``task`` blocked the event loop."""
        self._write(journal_events.loop_blocked(self.id, task.name, task.n, ms=took_ns / 1e6))

    def end(self, task: TaskRecord, error: BaseException | None) -> None:
        """Record that ``task`` finished, or failed with ``error``."""
        task.ended = True
        self._outliving.discard(task)
        if error is None:
            self._write(journal_events.task_finished(self.id, task.name, task.n))
        else:
            task.error = describe(error)
            self._write(journal_events.task_failed(self.id, task.name, task.n, error=task.error))

    def give_up(self, task: TaskRecord, error: BaseException) -> None:
        """Record that the call that waited for a thread ended with ``error``: without one the task will not start."""
        if not task.started:
            task.has_turn = False
            if self.over:
                self._drop(task, error)

    def send(self, message_id: str, name: str) -> int:
        """Record that a task is about to go to a broker, and return its number."""
        n = next(self._numbers)
        self._sending[message_id] = name, n
        self._write(journal_events.task_queued(self.id, name, n, where="worker"))
        return n

    def sent(self, message_id: str) -> None:
        """Record that the broker has the message: what becomes of it is not this process's affair."""
        self._sending.pop(message_id, None)

    def finish(self, error: BaseException | None) -> None:
        """Record that the app's call ended: a task whose turn has not come by now will never start."""
        for task in list(self.tasks.values()):  # a thread may add to them
            if task.has_turn and not task.ended:
                self._outliving.add(task)
                if task.ended:  # just now, in its thread
                    self._outliving.discard(task)
            elif not task.started:
                self._drop(task, error)
        for name, n in self._sending.values():
            self._write_dropped(name, n, "broker", "the broker did not say that it has the task")
        ended_by = None if error is None else describe(error)
        self._write(journal_events.request_finished(self.id, files=self._sizes(), error=ended_by))
        self.tasks.clear()  # a context that outlives the request keeps this record: not the user's tasks as well
        self.over = True

    def _drop(self, task: TaskRecord, error: BaseException | None) -> None:
        self._outliving.discard(task)
        reason, detail = why_dropped(task, list(self.tasks.values()), self.response.handled, error)
        self._write_dropped(task.name, task.n, reason, detail)

    def _write_dropped(self, task: str, n: int, reason: DropReason, detail: str) -> None:
        status = self.response.status
        self._write(journal_events.task_dropped(self.id, task, n, status=status, reason=reason, detail=detail))


def _client_id(scope: Scope) -> str | None:
    """Return the client's ``X-Request-ID``, unless it is one that cannot be trusted."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return None


def _no_sizes() -> None:
    return None
