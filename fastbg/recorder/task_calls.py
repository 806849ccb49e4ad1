"""Runs background tasks as Starlette does, and records their starts and ends."""

import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import CoroutineType
from typing import Any

import starlette.background
from starlette.background import BackgroundTask, BackgroundTasks

from fastbg.clock import monotonic_ns
from fastbg.recorder.request_record import RequestRecord, current_request
from fastbg.recorder.steps import in_steps
from fastbg.recorder.task_record import TaskRecord, current_task
from fastbg.recorder.unawaited import discard_result

_ORIGINAL = "_fastbg_original"  # the user's function, as an attribute of a recorded one

Function = Callable[..., Any]  # of the user
Call = Callable[[Any], Awaitable[None]]


def original_of(function: Any) -> Any:
    """Return the user's function if ``function`` is a recorded one, else ``function``."""
    return getattr(function, _ORIGINAL, function)


def wrap_call(original: Call) -> Call:
    """Wrap ``BackgroundTask.__call__``."""
    is_starlettes = getattr(original, "__globals__", None) is vars(starlette.background)  # no other tool has wrapped it

    @wraps(original)
    async def call(self: BackgroundTask) -> None:
        request = current_request.get()
        if request is None:
            await original(self)
            return
        task = request.begin(self)
        task.delegates |= task.own_call and not task.started
        function = original_of(self.func)
        if task.own_call and not task.delegates:  # recorded by `wrap_own_call`
            await original(self)
        elif isinstance(function, BackgroundTask):  # a collection as a task: each of its tasks is timed
            await _record(request, task, partial(original, self), is_timed=False)
        elif self.is_async and is_starlettes:  # which does the same
            await _record(request, task, partial(function, *self.args, **self.kwargs))
        elif self.is_async:
            await _record(request, task, partial(original, _copy(self, _without_result(task, function))))
        elif callable(function):
            try:
                await original(_copy(self, _recorded_in_thread(request, task, function)))
            except BaseException as error:
                request.give_up(task, error)
                raise
        else:
            await _record(request, task, partial(original, self), is_timed=False)  # fails before it uses a thread

    return call


def wrap_own_call(original: Call) -> Call:
    """Wrap the ``__call__`` of a user's subclass of BackgroundTask.

    If it calls ``BackgroundTask.__call__`` in its first step, each of these calls is recorded as a try of the task.
    Otherwise the call as a whole is the task.
    """

    @wraps(original)
    async def call(self: BackgroundTask) -> None:
        request = current_request.get()
        if request is None:
            await original(self)
            return
        task, t_ns, is_whole = request.begin(self), monotonic_ns(), False

        def start() -> None:
            nonlocal is_whole
            if not task.delegates:
                is_whole = True
                request.start(task, "loop", t_ns)

        task.own_call = True
        token = current_task.set(task)
        try:
            await _in_steps(request, task, original(self), start)
        except BaseException as error:
            if is_whole:
                request.end(task, error)
            raise
        else:
            if is_whole:
                request.end(task, None)
        finally:
            task.own_call = False
            current_task.reset(token)

    return call


def wrap_own_collection(original: Call) -> Call:
    """Wrap the ``__call__`` of a user's subclass of BackgroundTasks, which may run the functions by itself."""

    @wraps(original)
    async def call(self: BackgroundTasks) -> None:
        request = current_request.get()
        if request is None:
            await original(self)
            return
        with _recorded_functions(request, self.tasks):
            await original(self)

    return call


def recorded_callable(function: Function) -> Function:
    """Return a function for the ``background`` of a response that is no BackgroundTask: Starlette awaits its result."""

    @wraps(function)
    async def run() -> None:
        request = current_request.get()
        if request is None:
            await function()
        else:
            task = request.begin(function)
            await _record(request, task, function)

    setattr(run, _ORIGINAL, function)
    return run


async def _record(
    request: RequestRecord, task: TaskRecord, call: Callable[[], Awaitable[Any]],
    *, is_timed: bool = True, returns: bool = False,
) -> Any:  # fmt: skip
    """Await ``call()`` and record its start and end, and with ``is_timed`` the steps that block the event loop.

    ``returns``: the result is used. Otherwise it is discarded.
    """
    request.start(task, "loop")
    token = current_task.set(task)
    try:
        awaitable = call()
        results = [await (_in_steps(request, task, awaitable) if is_timed else awaitable)]
        del awaitable
        if not returns:
            discard_result(task, results)
    except BaseException as error:
        request.end(task, error)
        raise
    else:
        request.end(task, None)
        return results.pop() if returns else None
    finally:
        current_task.reset(token)


def _in_steps(
    request: RequestRecord, task: TaskRecord, awaitable: Awaitable[Any], begun: Callable[[], None] | None = None
) -> Coroutine[Any, Any, Any]:
    task.coroutine = awaitable if isinstance(awaitable, CoroutineType) else _await(awaitable)
    return in_steps(task.coroutine, partial(request.blocked, task), begun)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _copy(task: BackgroundTask, function: Function) -> BackgroundTask:
    """Copy ``task``: the user's object keeps its function."""
    copy = BackgroundTask.__new__(BackgroundTask)
    copy.__dict__ |= task.__dict__
    copy.func = function
    return copy


def _without_result(task: TaskRecord, function: Function) -> Function:
    async def run(*args: Any, **kwargs: Any) -> None:
        discard_result(task, [await function(*args, **kwargs)])

    return run


def _recorded_in_thread(request: RequestRecord, task: TaskRecord, function: Function) -> Function:
    """Wrap ``function``: the thread that runs it records its start and end. The wait for a thread begins now."""
    turn_ns = monotonic_ns()

    def run(*args: Any, **kwargs: Any) -> None:
        t_ns = monotonic_ns()
        request.start(task, "thread", t_ns, (t_ns - turn_ns) / 1e6)
        current_task.set(task)  # in the context of this call
        try:
            discard_result(task, [function(*args, **kwargs)])
        except BaseException as error:
            request.end(task, error)
            raise
        request.end(task, None)

    return run


@contextmanager
def _recorded_functions(request: RequestRecord, tasks: list[BackgroundTask]) -> Iterator[None]:
    """Replace the functions of ``tasks`` with recorded ones."""
    functions = [(task, original_of(task.func)) for task in tasks if callable(getattr(task, "func", None))]
    functions = [(task, function) for task, function in functions if not isinstance(function, BackgroundTask)]
    for task, function in functions:
        task.func = _recorded(request, task, function)
    try:
        yield
    finally:
        for task, function in functions:
            task.func = function


def _recorded(request: RequestRecord, task: BackgroundTask, function: Function) -> Function:
    loop_thread = threading.get_ident()

    @wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        record = request.begin(task)
        return await _record(request, record, partial(function, *args, **kwargs), returns=True)

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        record = request.begin(task)
        request.start(record, "loop" if threading.get_ident() == loop_thread else "thread")
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            request.end(record, error)
            raise
        request.end(record, None)
        return result

    recorded = run_async if task.is_async else run
    setattr(recorded, _ORIGINAL, function)
    return recorded
