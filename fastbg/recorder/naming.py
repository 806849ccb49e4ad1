"""The names of tasks and exceptions in the journal."""

import functools
from types import FunctionType
from typing import Any


def task_name(function: Any) -> str:
    """Return ``module.qualname`` of a function, of a partial's function, or of a callable object's class."""
    if type(function) is FunctionType and not function.__module__.startswith("ddtrace."):  # most are
        return f"{function.__module__}.{function.__qualname__}"
    while (inner := _inner(function)) is not None:
        function = inner
    if not isinstance(getattr(function, "__qualname__", None), str):
        function = type(function)
    return f"{getattr(function, '__module__', None) or '?'}.{function.__qualname__}"


def _inner(function: Any) -> Any:
    """Return the function inside of a partial, or of the closure that ddtrace queues; None if it is neither."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, FunctionType) and function.__module__.startswith("ddtrace.") and function.__closure__:
        variables = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        return variables["task"].cell_contents if "task" in variables else None
    return None


def describe(error: BaseException) -> str:
    """Return ``"ValueError: text"``, or only the type if the text is empty."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  # the user's __str__ may raise any exception, also a SystemExit
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
