"""Records Taskiq's tasks in the journal, in the server that queues them and in the workers.

`install` wraps ``AsyncBroker.startup``, which every broker calls, and adds a middleware to the broker. The user's code
does not change. In the server each message gets a label with the id of its request. A worker reads the label, so that
its events belong to this request on any process or machine.

A task is identified by its request and its number ``n`` in the request. Tasks that were queued outside of a request
have none.
"""

import functools
import json
import multiprocessing
import os
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from fastbg.events import boot_id
from fastbg.recorder.files import sizes_of
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import WorkerEvent, task_in_worker
from fastbg.recorder.naming import describe
from fastbg.recorder.request_record import current_request
from fastbg.recorder.tracebacks import format_traceback

LABEL = "fastbg"


@dataclass(frozen=True, slots=True)
class _Origin:
    """The request that queued a task, the task's number, and the server as boot id and process id."""

    request: str | None = None
    n: int = 0
    server: str = ""

    @classmethod
    def from_label(cls, label: Any) -> Self:  # another program's label may have any value
        """Read the label of a message. The label of another program is ignored."""
        try:
            fields = json.loads(label)
            request = fields.get("request")
            return cls(
                None if request is None else str(request), int(fields.get("n", 0)), str(fields.get("server", ""))
            )
        except (AttributeError, TypeError, ValueError):
            return cls()

    def to_label(self) -> str:
        return json.dumps(asdict(self))


class QueueRecorder(TaskiqMiddleware):
    """Records the events of a broker's tasks in ``journal``, with the sizes of ``files`` at the end of each task."""

    def __init__(self, journal: Journal, files: Iterable[Path]) -> None:
        super().__init__()
        self._journal = journal
        self._files = [str(path) for path in files]
        # Text and traceback of the exception, by task id, until the task is retried or has failed.
        self._errors: dict[str, tuple[str, str | None]] = {}

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        error = self._errors.pop(message.task_id, None)
        if error is not None:
            self._write(message, "task_retried", error)
            return message
        request = current_request.get()
        if request is not None:
            n = request.send(message.task_id, _name(message))
            message.labels[LABEL] = _Origin(request.id, n, f"{boot_id()}/{os.getpid()}").to_label()
        return message

    def post_send(self, message: TaskiqMessage) -> None:
        request = current_request.get()
        if request is not None:
            request.sent(message.task_id)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self._journal.refresh()
        self._write(message, "task_started")
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        self._errors[message.task_id] = describe(exception), format_traceback(exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        error = self._errors.pop(message.task_id, None)
        if error is not None:
            self._write(message, "task_failed", error, files=sizes_of(self._files))
        elif not isinstance(result.error, NoResultError):  # this error means that the task was queued again
            self._write(message, "task_finished", files=sizes_of(self._files))

    def _write(
        self,
        message: TaskiqMessage,
        event: WorkerEvent,
        error: tuple[str | None, str | None] = (None, None),
        files: Mapping[str, int] | None = None,
    ) -> None:
        text, traceback = error
        origin = _Origin.from_label(message.labels.get(LABEL))
        line = task_in_worker(
            event,
            origin.request,
            _name(message),
            origin.n,
            worker=_worker(),
            server=origin.server,
            error=text,
            traceback=traceback,
            files=files,
        )
        self._journal.write(line)


def _name(message: TaskiqMessage) -> str:
    """Return the name with dots: Taskiq's is ``module:function``."""
    return message.task_name.replace(":", ".")


def _worker() -> str:
    return f"{multiprocessing.current_process().name}@{platform.node()}"


def install(journal: Journal, files: Iterable[Path]) -> None:
    """Add a `QueueRecorder` to every broker of this process. A second call does nothing."""
    original: Callable[[AsyncBroker], Awaitable[None]] = AsyncBroker.startup
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    async def startup(self: AsyncBroker) -> None:
        if not any(isinstance(middleware, QueueRecorder) for middleware in self.middlewares):
            self.add_middlewares(QueueRecorder(journal, files))
        await original(self)

    AsyncBroker.startup = startup  # type: ignore[method-assign]  # wrapped on purpose
