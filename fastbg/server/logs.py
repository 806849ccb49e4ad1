"""uvicorn's log, with control characters escaped: the text of an exception may come from any client."""

import copy
import logging
from typing import Any

from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import AccessFormatter, DefaultFormatter

from fastbg.text import escape_control


def _safe_lines(text: str) -> str:
    """Escape each line, and indent all but the first, so that none looks like the next message."""
    return "\n".join(
        ("  " * bool(number and line)) + escape_control(line) for number, line in enumerate(text.split("\n"))
    )


def _safe_value(value: object) -> object:
    """Escape an argument of a message; numbers stay numbers, for ``%d``."""
    return value if isinstance(value, int | float) or value is None else escape_control(str(value))


class SafeFormatter(logging.Formatter):
    """Escapes the arguments of a message; the message itself and a traceback may have several lines."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy.copy(record)
        shown.exc_text = None  # of another formatter
        shown.msg = _safe_lines(str(record.msg))
        if isinstance(record.args, tuple):
            shown.args = tuple(map(_safe_value, record.args))
        elif record.args:
            shown.args = {name: _safe_value(value) for name, value in record.args.items()}
        return super().format(shown)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        return _safe_lines("\n" + super().formatException(ei)).removeprefix("\n")

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _safe_lines("\n" + super().formatStack(stack_info)).removeprefix("\n")


class Messages(SafeFormatter, DefaultFormatter):
    """Formats uvicorn's own messages."""


class Accesses(SafeFormatter, AccessFormatter):
    """Formats uvicorn's line per request."""


def log_config() -> dict[str, Any]:
    """Return uvicorn's logging configuration with these formatters."""
    config = copy.deepcopy(LOGGING_CONFIG)
    for name, kind in (("default", Messages), ("access", Accesses)):
        config["formatters"][name]["()"] = f"{kind.__module__}.{kind.__qualname__}"
    return config
