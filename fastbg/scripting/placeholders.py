"""Placeholders in a script: ``${mark}`` and its like, found and filled in. Pure.

=================== ====================================================================================
``${mark}``         a short text that no other request of any run has, so that its writes can be told apart
``${dir}``          the data folder
``${env.NAME}``     an environment variable of fastbg's own process
``${mail.host}``    where the run's mail server listens, likewise ``${mail.port}``, where the script has one
``${NAME}``         what an earlier request saved under that name
``$${``             a ``${`` that is meant as it is
=================== ====================================================================================
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\$(\$\{|\{([^{}]*)\})")
_NUMBER = re.compile(r"[0-9]{1,9}")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")

KeyPath = tuple[str | int, ...]


def texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text in a value read from TOML, with the keys that lead to it. A key counts as a text too."""
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
    """Everything in a value read from TOML that holds no other values, with the keys that lead to it."""
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
    """The names of the placeholders in ``text``."""
    return [match[2] for match in _PLACEHOLDER.finditer(text) if match[2] is not None]


def is_torn(text: str) -> bool:
    """Whether ``text`` has a ``${`` that is no placeholder, and none that is meant as it is."""
    return "${" in _PLACEHOLDER.sub("", text)


def escape(text: str) -> str:
    """Return ``text`` with each ``${`` in it meant as it is."""
    return text.replace("${", "$${")


def fill(value: Any, values: Mapping[str, Any], *, quote: Callable[[str], str] | None = None) -> Any:
    """``value`` with its placeholders filled in; those that ``values`` does not have stay as they are.

    A text that is one placeholder and nothing else becomes the value itself, be it a number or an object; inside a
    longer text it becomes text, through ``quote`` if there is one.
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
    """`fill` where the outcome has to be a text."""
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
    """What stands at ``path`` ("items.0.id") in a JSON value. Raises `LookupError`."""
    for key in filter(None, path.split(".")):
        if isinstance(value, Mapping):
            value = value[key]
        elif isinstance(value, list) and _NUMBER.fullmatch(key):
            value = value[int(key)]
        else:
            raise LookupError(key)
    return value
