"""Formatters for uvicorn's log that escape control characters: a client may have sent the text of an exception."""

import copy
import logging
from typing import Any

from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import AccessFormatter, DefaultFormatter

from fastbg.text import escape_control


def _safe_lines(text: str) -> str:
    """Escape each line, and indent all lines after the first, so that they differ from a new message."""
    return "\n".join(
        ("  " * bool(number and line)) + escape_control(line) for number, line in enumerate(text.split("\n"))
    )


def _safe_value(value: object) -> object:
    """Escape an argument of a message. Numbers stay numbers, for ``%d``."""
    return value if isinstance(value, int | float) or value is None else escape_control(str(value))


class SafeFormatter(logging.Formatter):
    """A formatter that escapes the arguments of a message. The message and a traceback may have several lines."""

    def format(self, record: logging.LogRecord) -> str:
        safe = copy.copy(record)
        safe.exc_text = None  # cached by another formatter
        safe.msg = _safe_lines(str(record.msg))
        if isinstance(record.args, tuple):
            safe.args = tuple(map(_safe_value, record.args))
        elif record.args:
            safe.args = {name: _safe_value(value) for name, value in record.args.items()}
        return super().format(safe)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        return _safe_lines("\n" + super().formatException(ei)).removeprefix("\n")

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _safe_lines("\n" + super().formatStack(stack_info)).removeprefix("\n")


class SafeDefaultFormatter(SafeFormatter, DefaultFormatter):
    """The formatter of uvicorn's messages."""


class SafeAccessFormatter(SafeFormatter, AccessFormatter):
    """The formatter of uvicorn's access log."""


def log_config() -> dict[str, Any]:
    config = copy.deepcopy(LOGGING_CONFIG)
    for name, kind in (("default", SafeDefaultFormatter), ("access", SafeAccessFormatter)):
        config["formatters"][name]["()"] = f"{kind.__module__}.{kind.__qualname__}"
    return config
