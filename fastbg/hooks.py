"""Lets a recorder see the tasks: wraps Starlette's ``BackgroundTask.__call__`` and ``BackgroundTasks.add_task``, which
FastAPI's own class inherits, and ``HTTPException.__init__``, which is why most tasks are dropped.

Outside of a request that is recorded the wrappers do nothing.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException

from fastbg.recorder import current_request

_adding = threading.RLock()


def _wrap_call(original: Callable[[BackgroundTask], Any]) -> Callable[[BackgroundTask], Any]:
    @functools.wraps(original)
    async def call(self: BackgroundTask) -> None:
        request = current_request()
        if request is None:
            await original(self)
            return
        task = request.begin(self)
        if self.is_async or not callable(self.func):  # what cannot be called fails on its way to a thread
            task.start(',"where":"loop"')
            call = original(self)
            try:
                # The tasks of a collection that is a task itself are timed one by one.
                await (call if isinstance(self.func, BackgroundTask) else task.in_steps(call))
            except BaseException as error:
                task.end(error)
                raise
            task.end(None)
        else:
            twin = BackgroundTask.__new__(BackgroundTask)  # the user's object keeps its function
            twin.__dict__ |= self.__dict__
            twin.func = task.in_thread(self.func)
            try:
                await original(twin)
            except BaseException as error:
                task.turn_passed(error)
                raise

    return call


def _wrap_add_task(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def add_task(self: BackgroundTasks, *args: Any, **kwargs: Any) -> None:
        request = current_request()
        if request is None:
            original(self, *args, **kwargs)
            return
        with _adding:  # two threads may add to the same tasks
            original(self, *args, **kwargs)
            task = self.tasks[-1]
        request.queue(task, self)

    return add_task


def _wrap_http_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init(self: HTTPException, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        request = current_request()
        if request is not None:
            request.note(self)

    return init


_WRAPPED: Sequence[tuple[type, str, Callable[[Any], Any]]] = (
    (BackgroundTask, "__call__", _wrap_call),
    (BackgroundTasks, "add_task", _wrap_add_task),
    (HTTPException, "__init__", _wrap_http_exception),
)
_originals: list[tuple[type, str, Any]] = []


def install() -> None:
    """Wrap Starlette's classes, for this whole process. A second call changes nothing."""
    if _originals:
        return
    for owner, name, wrap in _WRAPPED:
        original = owner.__dict__[name]
        _originals.append((owner, name, original))
        setattr(owner, name, wrap(original))


def uninstall() -> None:
    """Take the wrappers away."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
