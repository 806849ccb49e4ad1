"""Faults of a script, in words, and the lines that they stand in. Pure."""

import difflib
import json
import re
import tomllib
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastbg.values import KeyPath

_QUOTED = re.compile(r"'([^']*)'")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at the key ``path`` (names, and numbers from 0 in arrays): one sentence without a full stop."""

    path: KeyPath
    what: str


def key(path: KeyPath) -> str:
    """A key path as people write it: ``request[2].expect.verdict``, numbers from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else shown(part))
    return text or "the script"


def near(wrong: str, right: Iterable[str]) -> str:
    """``"; did you mean verdict?"`` where one of ``right`` is close to ``wrong``, else nothing."""
    plain = {name.lower(): name for name in right}
    close = difflib.get_close_matches(wrong.lower(), plain, n=1, cutoff=0.6)
    return f"; did you mean {plain[close[0]]}?" if close else ""


def told(faults: Iterable[Fault], lines: Mapping[KeyPath, int], where: str) -> list[str]:
    """The faults as ``FILE:LINE: KEY: what``, in the order of their lines."""
    placed = sorted({(line_of(fault.path, lines), key(fault.path), fault.what) for fault in faults})
    return [f"{where}:{line}: {name}: {what}" for line, name, what in placed]


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line, from 1, of the key at ``path``, or of the closest one around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 1


# From pydantic's errors to words


_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "list_type": "an array",
}
_PATTERNS = {
    "^/([^/]|$)": "a path that begins with one /",
    r"^[\w.]+:[\w.]+$": "module:attribute, `main:app` for the `app` in main.py",
    "^https?://": "an address that begins with http:// or https://",
    "^https?://.": "an address that begins with http:// or https://",
    r"^(status|(body|headers|cookies)(\..+)?)$": "status, body.KEY, headers.NAME or cookies.NAME",
}
_LIMITS = {
    "greater_than": ("more than {}", "gt"),
    "greater_than_equal": ("{} or more", "ge"),
    "less_than_equal": ("{} or less", "le"),
    "string_too_short": ("a text that is not empty", ""),
    "too_short": ("at least one item", ""),
}
_ARRAYS_OF_TABLES = ("part", "request", "files", "writes")


def in_other_words(errors: Sequence[Mapping[str, Any]], data: Any, schema: Mapping[str, Any]) -> list[Fault]:
    """What pydantic's ``errors`` say of ``data``: found and allowed, and what may have been meant.

    ``schema``: the JSON Schema of the model, which knows the keys that are allowed beside a wrong one.
    """
    at: dict[KeyPath, list[Mapping[str, Any]]] = {}
    for error in errors:
        at.setdefault(_within(error["loc"], data, missing=error["type"] == "missing"), []).append(error)
    around = {path[:end] for path in at for end in range(len(path))}
    # A table or an array that has a fault inside is only of the wrong kind for other branches of its union.
    return [
        Fault(path, _words(found, path, schema))
        for path, found in at.items()
        if path not in around or any(error["type"] not in _KINDS for error in found)
    ]


def _within(loc: Sequence[str | int], data: Any, *, missing: bool) -> KeyPath:
    """``loc`` without the names of union branches that pydantic adds: only what leads on in ``data``."""
    path: list[str | int] = []
    for number, part in enumerate(loc):
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_item or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif not (missing and number == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _words(errors: Sequence[Mapping[str, Any]], path: KeyPath, schema: Mapping[str, Any]) -> str:
    """What is wrong at ``path``; there are several ``errors`` where the branches of a union fail one by one."""
    kind, found, context = errors[0]["type"], errors[0]["input"], errors[0].get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _keys_at(path[:-1], schema)
        return f"there is no such key{near(str(path[-1]), allowed)} (allowed: {', '.join(allowed)})"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return f"{shown(found)} {context['error']}"
    expected = dict.fromkeys(_expected(error, path) for error in errors)
    if "a number" in expected:
        expected.pop("a whole number", None)
    *first, last = sorted(expected, key="true or false".__eq__)
    before = ", ".join(first) + (", " if last == "true or false" else " or ") if first else ""
    return f"found {shown(found)}, expected {before}{last}"


def _expected(error: Mapping[str, Any], path: KeyPath) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _KINDS and path[-1:] == ("status",):
        return "a number such as 200, or an array of them"
    if kind in _KINDS and path[-2:-1] == ("tasks",):
        return "a name, or a table with a task"
    if kind == "list_type" and isinstance(found, Mapping) and path[-1] in _ARRAYS_OF_TABLES:
        return f"an array: [[{'.'.join(part for part in path if isinstance(part, str))}]]"
    if kind == "literal_error":
        allowed = _QUOTED.findall(context["expected"])
        told = f"one of {', '.join(allowed)}" if len(allowed) > 1 else shown(allowed[0])
        return told + (near(found, allowed) if isinstance(found, str) else "")
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    if kind in _LIMITS:
        word, limit = _LIMITS[kind]
        return word.format(f"{context[limit]:.0f}") if limit else word
    return _KINDS.get(kind) or error["msg"].removeprefix("Input should be ")


def shown(value: object) -> str:
    """A value as it may stand in TOML, in one line, cut where it is long."""
    match value:
        case bool():
            text = str(value).lower()
        case Mapping():
            text = "a table" if value else "an empty table"
        case list():
            text = "an array" if value else "an empty array"
        case str():
            text = json.dumps(value[:100], ensure_ascii=False)
        case int() if value.bit_length() > 256:  # Python writes no endless decimal numbers
            text = hex(value)
        case _:
            text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _keys_at(path: KeyPath, schema: Mapping[str, Any]) -> list[str]:
    """The keys that the schema allows in the table at ``path``."""
    places = [schema]
    for part in path:
        places = [inner for place in _resolved(places, schema) for inner in _inside(place, part)]
    return sorted({name for place in _resolved(places, schema) for name in place.get("properties", {})})


def _inside(place: Mapping[str, Any], part: str | int) -> list[Mapping[str, Any]]:
    if isinstance(part, int):
        return [place["items"]] if "items" in place else []
    found = place.get("properties", {}).get(part, place.get("additionalProperties"))
    return [found] if isinstance(found, Mapping) else []


def _resolved(places: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """``places`` with references followed and unions taken apart."""
    found: list[Mapping[str, Any]] = []
    for place in places:
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
        inner = place.get("anyOf") or place.get("allOf")  # older pydantic puts a reference alone in an allOf
        found += _resolved(inner, schema) if inner else [place]
    return found


# Lines


_BETWEEN = re.compile(r"(?:[\s,]|#[^\n]*)*+")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*+"|'[^']*+'|[\w-]++)[ \t]*(\.?)""")
_OPENS = re.compile(r"[ \t]*=[ \t]*")
_CLOSES = re.compile(r"[ \t]*\]\]?")
_SCALAR = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|"(?:[^"\\]|\\.)*+"'''
    r"""|'''(?:[^']|'{1,2}(?!'))*+'{3,5}|'[^']*+'|[^,\]}\n#]++""",
    re.DOTALL,
)


def lines_of(text: str) -> dict[KeyPath, int]:
    """For each key path of a valid TOML document, the line, from 1, in which it is set first."""
    lines: dict[KeyPath, int] = {}
    breaks = [found.start() for found in re.finditer("\n", text)]
    counts: dict[KeyPath, int] = {}  # how many tables each [[array]] has so far
    table: KeyPath = ()
    around: list[tuple[KeyPath, int | None]] = []  # the arrays (with the number of the next item) and tables we are in
    at = 0
    while (at := _end(_BETWEEN, text, at)) < len(text):
        line = bisect(breaks, at) + 1
        if around and text[at] in "]}":
            around.pop()
            at += 1
            continue
        path, item = around[-1] if around else (table, None)
        if item is not None:
            around[-1] = (path, item + 1)
            path = (*path, item)
        elif not around and text[at] == "[":
            is_item = text.startswith("[[", at)
            names, at = _names(text, at + 1 + is_item)
            table = _table(names, counts, is_item=is_item)
            at = _end(_CLOSES, text, at)
            _note(lines, table, 0, line)
            continue
        else:
            names, at = _names(text, at)
            path = (*path, *names)
            _note(lines, path, len(path) - len(names), line)
            at = _end(_OPENS, text, at)
        lines.setdefault(path, line)
        if text.startswith(("[", "{"), at):
            around.append((path, 0 if text[at] == "[" else None))
            at += 1
        else:
            at = _end(_SCALAR, text, at)
    return lines


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else len(text)


def _names(text: str, at: int) -> tuple[list[str], int]:
    """The parts of a dotted key, and where it ends."""
    names: list[str] = []
    while found := _KEY.match(text, at):
        name = found[1]
        names.append(next(iter(tomllib.loads(f"{name} = 0"))) if name[0] in "\"'" else name)
        if not found[2]:
            return names, found.end()
        at = found.end()
    return names, len(text)


def _table(names: Sequence[str], counts: dict[KeyPath, int], *, is_item: bool) -> KeyPath:
    """The path of the table that a header opens."""
    path: KeyPath = ()
    for number, name in enumerate(names):
        path = (*path, name)
        if is_item and number == len(names) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _note(lines: dict[KeyPath, int], path: KeyPath, start: int, line: int) -> None:
    """That ``path``, and what leads to it from ``start`` on, is set in ``line`` if not before."""
    for end in range(start + 1, len(path) + 1):
        lines.setdefault(path[:end], line)
