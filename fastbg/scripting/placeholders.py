"""Finds and replaces the placeholders of a script. Pure.

=================== ====================================================================================
``${mark}``         the id of the request, unique in all runs, so that each write belongs to one request
``${run}``          a text that the requests of one run share, and no other run has
``${dir}``          the data folder
``${env.NAME}``     an environment variable of fastbg's own process
``${mail.host}``    the host of the run's mail server; ``${mail.port}``: its port
``${port}``         in `command` and `env`: the port on which the user's server must listen
``${NAME}``         a value that an earlier request saved under that name
``$${``             the text ``${``
=================== ====================================================================================
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

PORT = "port"

_PLACEHOLDER = re.compile(r"\$(\$\{|\{([^{}]*)\})")
_NUMBER = re.compile(r"[0-9]{1,9}")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")

KeyPath = tuple[str | int, ...]


def texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield every string in a TOML value with its path. Keys count as strings."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield (*path, key), key
            yield from texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from texts(item, (*path, number))


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every value in a TOML value that contains no other values, with its path."""
    items: Iterable[tuple[str | int, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        yield path, value
        return
    for key, item in items:
        yield from leaves(item, (*path, key))


def names(text: str) -> list[str]:
    return [match[2] for match in _PLACEHOLDER.finditer(text) if match[2] is not None]


def used(value: Any) -> set[str]:
    """Return the names of all placeholders in a TOML value."""
    return {name for _, text in texts(value) for name in names(text)}


def is_unclosed(text: str) -> bool:
    """Return whether ``text`` has a ``${`` that is neither a placeholder nor escaped."""
    return "${" in _PLACEHOLDER.sub("", text)


def escape(text: str) -> str:
    """Return ``text`` with each ``${`` escaped."""
    return text.replace("${", "$${")


def fill(value: Any, values: Mapping[str, Any], *, quote: Callable[[str], str] | None = None) -> Any:
    """Replace the placeholders in ``value``; placeholders that are not in ``values`` stay unchanged.

    A string that is only one placeholder becomes the value itself, for example a number or an object. In a longer
    string the value becomes text, which ``quote`` converts.
    """
    if isinstance(value, str):
        whole = _WHOLE.fullmatch(value)
        if whole and whole[1] in values and quote is None:
            return values[whole[1]]
        return _PLACEHOLDER.sub(lambda match: _text(match, values, quote), value) if "${" in value else value
    if isinstance(value, Mapping):
        return {fill_text(key, values): fill(item, values, quote=quote) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, values, quote=quote) for item in value]
    return value


def fill_text(text: str, values: Mapping[str, Any], *, quote: Callable[[str], str] | None = None) -> str:
    """Replace the placeholders in ``text``; the result is always a string."""
    return _PLACEHOLDER.sub(lambda match: _text(match, values, quote), text) if "${" in text else text


def _text(match: re.Match[str], values: Mapping[str, Any], quote: Callable[[str], str] | None) -> str:
    if match[2] is None:
        return "${"
    if match[2] not in values:
        return match[0]
    value = values[match[2]]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quote(text) if quote else text


def at(value: Any, path: str) -> Any:
    """Return the value at ``path`` ("items.0.id") in a JSON value. Raises `LookupError`."""
    for key in filter(None, path.split(".")):
        if isinstance(value, Mapping):
            value = value[key]
        elif isinstance(value, list) and _NUMBER.fullmatch(key):
            value = value[int(key)]
        else:
            raise LookupError(key)
    return value
