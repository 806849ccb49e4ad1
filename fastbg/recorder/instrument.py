"""Wraps methods of Starlette, so that the recorder sees the background tasks.

These are ``BackgroundTask.__call__``, ``BackgroundTasks.add_task``, which FastAPI's class inherits, and
``HTTPException.__init__``, because an HTTPException is the usual reason for dropped tasks. Outside of a recorded
request the wrappers do nothing.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException

from fastbg.clock import monotonic_ns
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
        if self.is_async or not callable(self.func):  # if it is not callable, Starlette fails before it uses a thread
            request.start(task, "loop")
            call = original(self)
            try:
                # If the task is itself a collection of tasks, each of these is timed, not the collection.
                collection = isinstance(self.func, BackgroundTask)
                await (call if collection else in_steps(call, partial(request.blocked, task)))
            except BaseException as error:
                request.end(task, error)
                raise
            request.end(task, None)
        else:
            copy = BackgroundTask.__new__(BackgroundTask)  # the user's object keeps its function
            copy.__dict__ |= self.__dict__
            copy.func = _recorded_in_thread(request, task, self.func)
            try:
                await original(copy)
            except BaseException as error:
                request.give_up(task, error)
                raise

    return call


def _recorded_in_thread(request: RequestRecord, task: TaskRecord, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``function``: the thread that runs it records its start and end. The wait for a thread begins now."""
    turn_ns = monotonic_ns()

    def run(*args: Any, **kwargs: Any) -> Any:  # the types of the user's function
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
        with _adding:  # two threads may add to the same collection
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
            request.response.add_http_exception(self)

    return init


_WRAPPED: Sequence[tuple[type, str, Callable[[Any], Any]]] = (
    (BackgroundTask, "__call__", _wrap_call),
    (BackgroundTasks, "add_task", _wrap_add_task),
    (HTTPException, "__init__", _wrap_http_exception),
)
_originals: list[tuple[type, str, Any]] = []


def install() -> None:
    """Wrap Starlette's methods for the whole process. A second call does nothing."""
    if _originals:
        return
    for owner, name, wrap in _WRAPPED:
        original = owner.__dict__[name]
        _originals.append((owner, name, original))
        setattr(owner, name, wrap(original))


def uninstall() -> None:
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
