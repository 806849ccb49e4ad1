"""Wraps methods of Starlette, so that the recorder sees the background tasks.

Recorded are the tasks that are made, added, given to a response, and called, and HTTPExceptions, because they are the
usual reason for dropped tasks. Outside of a recorded request the wrappers do nothing.
"""

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from types import FunctionType
from typing import Any

import starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from fastbg.recorder import task_calls
from fastbg.recorder.naming import task_name
from fastbg.recorder.request_record import current_request
from fastbg.recorder.unawaited import WARNING_HOOKS

_adding = threading.RLock()
_adder: int | None = None  # the thread in ``add_task``, which makes a task and queues it
_STARTS_TASKS_EARLY = tuple(map(int, starlette.__version__.split(".")[:2])) < (1, 7)


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def init(self: BackgroundTask, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.func = task_calls.original_of(self.func)
        request = current_request.get()
        if request is not None and _adder != threading.get_ident():
            request.make(self)

    return init


def _wrap_add_task(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def add_task(self: BackgroundTasks, *args: Any, **kwargs: Any) -> None:
        request = current_request.get()
        if request is None:
            original(self, *args, **kwargs)
            return
        global _adder
        with _adding:  # two threads may add to the same collection
            _adder = threading.get_ident()
            try:
                original(self, *args, **kwargs)
            finally:
                _adder = None
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


def _wrap_middleware(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def call(self: BaseHTTPMiddleware, scope: Any, receive: Any, send: Any) -> None:
        request = current_request.get()
        if request is not None:
            request.middleware = task_name(self.dispatch_func)
        await original(self, scope, receive, send)

    return call


class _Background:
    """The attribute ``background`` of responses, which records what a response is given."""

    def __get__(self, response: Response | None, owner: type[Response]) -> Any:
        if response is None:
            return self
        try:
            return response.__dict__["background"]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute 'background'") from None

    def __set__(self, response: Response, background: Any) -> None:
        if background is None:  # most responses
            pass
        elif isinstance(background, BackgroundTask):
            request = current_request.get()
            if request is not None:
                request.give(background, response)
        elif callable(background):
            background = task_calls.recorded_callable(background)
        response.__dict__["background"] = background

    def __delete__(self, response: Response) -> None:
        response.__dict__.pop("background", None)


_WRAPPED: Sequence[tuple[object, str, Callable[[Any], Any]]] = (
    (BackgroundTask, "__init__", _wrap_init),
    (BackgroundTask, "__call__", task_calls.wrap_call),
    (BackgroundTasks, "add_task", _wrap_add_task),
    (HTTPException, "__init__", _wrap_http_exception),
    *WARNING_HOOKS,
    *(((BaseHTTPMiddleware, "__call__", _wrap_middleware),) if _STARTS_TASKS_EARLY else ()),
)
_originals: list[tuple[Any, str, Any]] = []
_users = 0  # recorders that need the wrappers
_counting = threading.Lock()


def acquire() -> None:
    """Wrap Starlette's methods until each recorder that has called this has called `release`."""
    global _users
    with _counting:
        _users += 1
        install()


def release() -> None:
    global _users
    with _counting:
        _users -= 1
        if not _users:
            uninstall()


def install() -> None:
    """Wrap Starlette's methods for the whole process. A second call does nothing."""
    if _originals:
        return
    for owner, name, wrap in _WRAPPED:
        original = vars(owner)[name]
        _replace(owner, name, wrap(_unbound(original) if isinstance(owner, type) else original))
    _replace(Response, "background", _Background())
    _replace(BackgroundTask, "__init_subclass__", classmethod(_init_subclass))
    for subclass in _subclasses(BackgroundTask):
        _wrap_own_call(subclass)


def uninstall() -> None:
    while _originals:
        owner, name, original = _originals.pop()
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _unbound(method: Any) -> Any:
    """Return a function that calls ``method`` as one of its first argument.

    Wrappers of other tools, such as those of ddtrace, do not get the object if they are called without being bound.
    """
    if type(method) is FunctionType:  # a wrapper may claim to be one
        return method

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method.__get__(self, type(self))(*args, **kwargs)

    return call


def _replace(owner: Any, name: str, replacement: Any) -> None:
    _originals.append((owner, name, vars(owner).get(name)))
    setattr(owner, name, replacement)


def _init_subclass(cls: type[BackgroundTask], /, **options: Any) -> None:
    super(BackgroundTask, cls).__init_subclass__(**options)
    _wrap_own_call(cls)


def _subclasses(cls: type[BackgroundTask]) -> list[type[BackgroundTask]]:
    return [each for child in cls.__subclasses__() for each in (child, *_subclasses(child))]


def _wrap_own_call(cls: type[BackgroundTask]) -> None:
    """Wrap the ``__call__`` that a user's subclass defines."""
    own = vars(cls).get("__call__")
    if own is None or cls.__module__.startswith(("starlette.", "fastapi.")):  # they call each task
        return
    wrap = task_calls.wrap_own_collection if issubclass(cls, BackgroundTasks) else task_calls.wrap_own_call
    _replace(cls, "__call__", wrap(own))
