"""JSON from outside. Python's own reader takes more than there is in JSON, and what it takes then cannot be written."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

MAX_DEPTH = 100  # levels of arrays and objects: far below what Python's recursion allows to read, compare and write


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if isfinite(value) else _refuse(digits)


decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).raw_decode
"""The value at the beginning of a text, and where it ends. Raises `ValueError` and `RecursionError`."""


def loads(data: bytes) -> Any:
    """The value that ``data`` is.

    Raises `ValueError`, also for a number that is none, too many levels, and half of a surrogate pair: text that cannot
    be sent on.
    """
    text = data.decode(json.detect_encoding(data)).strip(" \t\r\n")
    try:
        value, end = decode(text)
    except RecursionError:
        raise ValueError("has too many levels") from None
    if end != len(text) or is_deeper(value, MAX_DEPTH):
        raise ValueError("has too many levels, or more than one value")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects are nested in ``value`` in more than so many ``levels``."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ())
        ]
    return bool(level)
