"""Writes what becomes of Taskiq's tasks to the journal, in the server that queues them and in the workers.

`install` wraps ``AsyncBroker.startup``, which every broker calls: it adds a middleware to the broker, and nothing of
the user's code changes. In the server each message gets a label that says which request it is of; a worker hands the
label back, so its events belong to that request, whichever process or machine it runs on. Events beside those of
`fastbg.recorder`, and what is different:

==================== ==================================================================================
task_queued          before the message goes to the broker; ``where``: "worker"
task_dropped         ``reason``: "broker": it did not say that it has the message
task_started         ``where``: "worker"; ``worker``: its name and host; ``server``: boot and process id of the server
                     that queued it. A second time where the message was delivered again
task_retried         it raised ``error``, and was queued once more
task_finished        before the broker is told that the task is done: ``files``: path to size in bytes at that moment
task_failed          it raised ``error``, and nobody tries it again: ``files``
==================== ==================================================================================

A task is known by its request and its number ``n`` there. Tasks that no request queued are of no request.
"""

import functools
import json
import multiprocessing
import os
import platform
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from fastbg.events import boot_id
from fastbg.journal import Journal, encode
from fastbg.recorder import current_request, describe, sizes_of

LABEL = "fastbg"


class QueueRecorder(TaskiqMiddleware):
    """Writes the events of a broker's tasks to ``journal``; the sizes of ``files`` are told when a task has ended."""

    def __init__(self, journal: Journal, files: Iterable[Path]) -> None:
        super().__init__()
        self._journal = journal
        self._sizes = sizes_of(files)
        self._errors: dict[str, str] = {}  # by the task's id, until it is known what becomes of it

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        error = self._errors.pop(message.task_id, None)
        if error is not None:
            self._write(message, "task_retried", f',"error":{encode(error, 1000)}')
            return message
        request = current_request()
        if request is not None:
            n, fields = request.send(message.task_id, _name(message))
            label = {"request": request.id, "n": n, "server": f"{boot_id()}/{os.getpid()}"}
            message.labels[LABEL] = json.dumps(label)
            request.write("task_queued", f'{fields},"where":"worker"')
        return message

    def post_send(self, message: TaskiqMessage) -> None:
        request = current_request()
        if request is not None:
            request.sent_to_broker(message.task_id)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self._journal.look()
        self._write(message, "task_started")
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        self._errors[message.task_id] = describe(exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        error = self._errors.pop(message.task_id, None)
        if error is not None:
            self._write(message, "task_failed", f',"error":{encode(error, 1000)}{self._sizes()}')
        elif not isinstance(result.error, NoResultError):  # which stands for: queued once more
            self._write(message, "task_finished", self._sizes())

    def _write(self, message: TaskiqMessage, event: str, more: str = "") -> None:
        try:
            label = json.loads(message.labels.get(LABEL, "{}"))
            request, n, server = label.get("request"), int(label.get("n", 0)), str(label.get("server", ""))
        except (AttributeError, TypeError, ValueError):  # somebody else's label
            request, n, server = None, 0, ""
        self._journal.write(
            encode(str(request), 300) if request is not None else "null",
            event,
            f',"task":{encode(_name(message), 1000)},"n":{n},"where":"worker","worker":{encode(_worker(), 200)}'
            f',"server":{encode(server, 200)}{more}',
        )


def _name(message: TaskiqMessage) -> str:
    """Taskiq names a task ``module:function``."""
    return message.task_name.replace(":", ".")


def _worker() -> str:
    return f"{multiprocessing.current_process().name}@{platform.node()}"


def install(journal: Journal, files: Iterable[Path]) -> None:
    """Record what every broker of this process does, as `QueueRecorder`. A second call changes nothing."""
    original: Callable[[AsyncBroker], Awaitable[None]] = AsyncBroker.startup
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    async def startup(self: AsyncBroker) -> None:
        if not any(isinstance(middleware, QueueRecorder) for middleware in self.middlewares):
            self.add_middlewares(QueueRecorder(journal, files))
        await original(self)

    AsyncBroker.startup = startup  # type: ignore[method-assign]  # to wrap it is the point
