"""Writes values as TOML. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
MAX_WIDTH = 110  # of a line with a table or an array


def assignment(key: str, value: Any) -> Iterator[str]:
    """Yield ``key = value``, or one line per item if it is longer than `MAX_WIDTH`. ``key``: in TOML syntax."""
    line = f"{key} = {to_toml(value)}"
    if len(line) > MAX_WIDTH and isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from assignment(f"{key}.{_key(name)}", item)
    elif len(line) > MAX_WIDTH and isinstance(value, list):
        yield from (f"{key} = [", *(f"    {to_toml(item)}," for item in value), "]")
    else:
        yield line


def to_toml(value: Any) -> str:
    """Return ``value`` as one line of TOML, with inline tables and escaped control characters."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case Mapping():
            items = ", ".join(f"{_key(name)} = {to_toml(item)}" for name, item in value.items())
            return f"{{ {items} }}" if items else "{}"
        case list():
            return f"[{', '.join(map(to_toml, value))}]"
    return repr(value)


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
