"""The names of tasks and exceptions in the journal."""

import functools
from typing import Any


def task_name(function: Any) -> str:
    """Return ``module.qualname`` of a function, of a partial's function, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(getattr(function, "__qualname__", None), str):
        function = type(function)
    return f"{getattr(function, '__module__', None) or '?'}.{function.__qualname__}"


def describe(error: BaseException) -> str:
    """Return ``"ValueError: text"``, or only the type if the text is empty."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the user's __str__ may raise any exception
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
