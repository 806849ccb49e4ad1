"""Converts the errors of pydantic into faults of a script. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastbg.scripting.faults import Fault, describe_value
from fastbg.scripting.model import PATTERNS
from fastbg.scripting.placeholders import KeyPath
from fastbg.text import did_you_mean

_QUOTED = re.compile(r"'([^']*)'")
_KINDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "list_type": "an array",
}
_LIMITS = {
    "greater_than": ("more than {}", "gt"),
    "greater_than_equal": ("{} or more", "ge"),
    "less_than_equal": ("{} or less", "le"),
    "string_too_short": ("a non-empty string", ""),
    "too_short": ("at least one item", ""),
}
_ARRAYS_OF_TABLES = ("part", "request", "files", "writes")


def faults_from_errors(errors: Sequence[Mapping[str, Any]], data: Any, schema: Mapping[str, Any]) -> list[Fault]:
    """Describe pydantic's ``errors`` in ``data``: the found and the allowed values, and a suggestion.

    ``schema``: the JSON Schema of the model, for the allowed keys.
    """
    at: dict[KeyPath, list[Mapping[str, Any]]] = {}
    for error in errors:
        at.setdefault(_within(error["loc"], data, missing=error["type"] == "missing"), []).append(error)
    around = {path[:end] for path in at for end in range(len(path))}
    # If a table or an array has a fault inside, its own type error is from another branch of its union.
    return [
        Fault(path, _describe(found, path, schema))
        for path, found in at.items()
        if path not in around or any(error["type"] not in _KINDS for error in found)
    ]


def _within(loc: Sequence[str | int], data: Any, *, missing: bool) -> KeyPath:
    """Return ``loc`` without the names of union branches, which pydantic adds: only the keys in ``data``."""
    path: list[str | int] = []
    for number, part in enumerate(loc):
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_item or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif not (missing and number == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _describe(errors: Sequence[Mapping[str, Any]], path: KeyPath, schema: Mapping[str, Any]) -> str:
    """Describe the fault at ``path``; a union has one error for each of its branches."""
    kind, found, context = errors[0]["type"], errors[0]["input"], errors[0].get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _keys_at(path[:-1], schema)
        return f"unknown key{did_you_mean(str(path[-1]), allowed)} (allowed: {', '.join(allowed)})"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return f"{describe_value(found)} {context['error']}"
    expected = dict.fromkeys(_expected(error, path) for error in errors)
    if "a number" in expected:
        expected.pop("an integer", None)
    *first, last = sorted(expected, key="true or false".__eq__)
    before = ", ".join(first) + (", " if last == "true or false" else " or ") if first else ""
    return f"found {describe_value(found)}, expected {before}{last}"


def _expected(error: Mapping[str, Any], path: KeyPath) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _KINDS and path[-1:] == ("status",):
        return 'a status such as 200, an array of statuses, or "any"'
    if kind in ("list_type", "too_long") and path[-2:-1] in (("headers",), ("cookies",)):
        return "an empty array, which does not send it"
    if kind in _KINDS and path[-2:-1] == ("tasks",):
        return "the name of a task, or a table with the key task"
    if kind == "list_type" and isinstance(found, Mapping) and path[-1] in _ARRAYS_OF_TABLES:
        return f"an array: write [[{'.'.join(part for part in path if isinstance(part, str))}]]"
    if kind == "literal_error":
        allowed = _QUOTED.findall(context["expected"])
        if not allowed:  # only true
            return "true"
        choice = f"one of {', '.join(allowed)}" if len(allowed) > 1 else describe_value(allowed[0])
        return choice + (did_you_mean(found, allowed) if isinstance(found, str) else "")
    if kind == "string_pattern_mismatch":
        return PATTERNS[context["pattern"]]
    if kind in _LIMITS:
        word, limit = _LIMITS[kind]
        return word.format(f"{context[limit]:.0f}") if limit else word
    return _KINDS.get(kind) or error["msg"].removeprefix("Input should be ")


def _keys_at(path: KeyPath, schema: Mapping[str, Any]) -> list[str]:
    """Return the keys that the schema allows in the table at ``path``."""
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
    """Resolve the references in ``places``, and split the unions."""
    found: list[Mapping[str, Any]] = []
    for place in places:
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
        inner = place.get("anyOf") or place.get("allOf")  # older pydantic puts a single reference into an allOf
        found += _resolved(inner, schema) if inner else [place]
    return found
