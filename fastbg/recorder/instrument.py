"""Lets a recorder see the tasks: wraps Starlette's ``BackgroundTask.__call__`` and ``BackgroundTasks.add_task``, which
FastAPI's own class inherits, and ``HTTPException.__init__``, which is why most tasks are dropped.

Outside of a request that is recorded the wrappers do nothing.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from time import monotonic_ns
from typing import Any

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException

from fastbg.recorder.request_record import RequestRecord, current_request
from fastbg.recorder.steps import in_steps
from fastbg.recorder.task_record import TaskRecord

_adding = threading.RLock()


def _wrap_call(original: Callable[[BackgroundTask], Any]) -> Callable[[BackgroundTask], Any]:
    @wraps(original)
    async def call(self: BackgroundTask) -> None:
        request = current_request.get()
        if request is None:
            await original(self)
            return
        task = request.begin(self)
        if self.is_async or not callable(self.func):  # what cannot be called fails on its way to a thread
            request.start(task, "loop")
            call = original(self)
            try:
                # The tasks of a collection that is a task itself are timed one by one.
                collection = isinstance(self.func, BackgroundTask)
                await (call if collection else in_steps(call, partial(request.blocked, task)))
            except BaseException as error:
                request.end(task, error)
                raise
            request.end(task, None)
        else:
            twin = BackgroundTask.__new__(BackgroundTask)  # the user's object keeps its function
            twin.__dict__ |= self.__dict__
            twin.func = _recorded_in_thread(request, task, self.func)
            try:
                await original(twin)
            except BaseException as error:
                request.give_up(task, error)
                raise

    return call


def _recorded_in_thread(request: RequestRecord, task: TaskRecord, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``, whose turn has come, with its start and end written by the thread that runs it."""
    turn_ns = monotonic_ns()

    def run(*args: Any, **kwargs: Any) -> Any:  # as the user's function takes and returns
        t_ns = monotonic_ns()
        request.start(task, "thread", t_ns, (t_ns - turn_ns) / 1e6)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            request.end(task, error)
            raise
        request.end(task, None)
        return result

    return run


def _wrap_add_task(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def add_task(self: BackgroundTasks, *args: Any, **kwargs: Any) -> None:
        request = current_request.get()
        if request is None:
            original(self, *args, **kwargs)
            return
        with _adding:  # two threads may add to the same tasks
            original(self, *args, **kwargs)
            task = self.tasks[-1]
        request.queue(task, self)

    return add_task


def _wrap_http_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def init(self: HTTPException, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        request = current_request.get()
        if request is not None:
            request.response.note(self)

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
