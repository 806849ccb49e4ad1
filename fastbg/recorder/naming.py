"""What tasks and exceptions are called in the journal."""

import functools
from typing import Any


def task_name(function: Any) -> str:
    """``module.qualname`` of a function, of what a partial calls, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(getattr(function, "__qualname__", None), str):
        function = type(function)
    return f"{getattr(function, '__module__', None) or '?'}.{function.__qualname__}"


def describe(error: BaseException) -> str:
    """``"ValueError: text"``, or the type alone where there is no text."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the user's own __str__ may do anything
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
