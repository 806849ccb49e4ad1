"""Strict JSON. Python's `json` module also reads texts that are not valid JSON, and their values cannot be written."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

MAX_DEPTH = 100  # levels of arrays and objects, far below Python's recursion limit for reading and writing


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a valid JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if isfinite(value) else _refuse(digits)


decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).raw_decode
"""Return the first value of a text, and the index after it. Raises `ValueError` and `RecursionError`."""


def loads(data: bytes) -> Any:
    """Return the value of a JSON text.

    Raises `ValueError`, also for NaN and Infinity, too many levels, and a lone surrogate, which cannot be encoded.
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
    level = [value]
    for _ in range(levels + 1):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ())
        ]
    return bool(level)
