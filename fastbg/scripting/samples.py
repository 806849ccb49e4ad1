"""Creates sample values for the schemas of an OpenAPI document, so that the app accepts the request. Pure.

Values of the document's author are preferred: ``example``, ``examples``, ``default``, ``const``, ``enum``. Other values
follow from the type, format and limits. Optional values are included, because a dependency often queues its task only
if its parameter is given.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from math import ceil, isfinite
from typing import Any

from fastbg.scripting.openapi import Schema, Schemas, as_list, as_mapping, example, type_of
from fastbg.scripting.sample_names import MARK, named_number, named_texts

_MARKS = ("0a1b2c-1", "0a1b2c-0000001")  # possible values of ${mark}, to check limits and patterns
_IS_IDENTIFIER = re.compile(r"(?:^|[_.-])(?:ids?|uuid|key|token|code|slug|secret|password)$|[a-z](?:Id|Key|Token)$")
_ALTERNATIVES = re.compile(r"\^?\(?(?:\?:)?([\w-]+(?:\|[\w-]+)*)\)?\$?")
_ADDRESS = re.compile(r"[^@\s]+@([^@\s]+\.[^@\s]+)")
_FORMATS = {
    "email": f"{MARK}@example.com",
    "idn-email": f"{MARK}@example.com",
    "name-email": f"{MARK} <{MARK}@example.com>",
    "uuid": "6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e",
    "date": "2030-01-31",
    "date-time": "2030-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "uri": f"https://example.com/{MARK}",
    "url": f"https://example.com/{MARK}",
    "multi-host-uri": "https://example.com/",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv4network": "192.0.2.0/24",
    "ipv4interface": "192.0.2.1/24",
    "ipvanyaddress": "192.0.2.1",
    "ipvanynetwork": "192.0.2.0/24",
    "ipvanyinterface": "192.0.2.1/24",
    "ipv6": "2001:db8::1",
    "ipv6network": "2001:db8::/32",
    "ipv6interface": "2001:db8::1/32",
    "byte": "c2FtcGxl",
    "base64": "c2FtcGxl",
    "base64url": "c2FtcGxl",
    "json-string": "{}",
}
_MAX_VALUES = 200  # in one request; beyond that, optional values are omitted
_MAX_DEPTH = 20


class Samples:
    """Creates samples for the schemas of one operation. ``schemas``: the schemas of its document.

    ``unmet``: names of the strings for whose pattern no sample was found.
    """

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self._count = 0
        self.unmet: list[str] = []

    def of(self, schema: object, name: str, *, given: Any = None, known: bool = False) -> Any:
        """Return a value for ``schema``, or None if there is none.

        ``name``: name of the parameter or property. ``given``: the example beside the schema. ``known``: the value
        identifies an object of the app, so an example must not change.
        """
        return self._sample(schema, name, given, known, ())

    def _sample(self, schema: object, name: str, given: Any, known: bool, around: tuple[str, ...]) -> Any:
        plain, references = self.schemas.with_references(schema)
        if len(around) > _MAX_DEPTH or set(references) & set(around) or self._count > 5 * _MAX_VALUES:
            return None  # the schema contains itself
        around += references or ("",)
        self._count += 1
        if given is None:
            given = cleaned(example(plain))
        if given is not None:
            return self._marked(given, plain, name, known)
        for value in (plain.get("default"), plain.get("const"), *as_list(plain.get("enum"))):
            if value not in (None, "", [], {}):
                return cleaned(value)
        match type_of(plain):
            case "boolean":
                return True
            case "integer" | "number" as kind:
                return _number(plain, name, whole=kind == "integer")
            case "array":
                return self._array(plain, name, around)
            case "object":
                return self._object(plain, around)
            case "null":
                return None
        if plain.get("contentMediaType") == "application/json":
            inner = self._sample(plain.get("contentSchema"), name, None, known, around)
            return json.dumps({} if inner is None else inner, ensure_ascii=False)
        return self._text(plain, name)

    def _text(self, plain: Schema, name: str) -> str:
        least, most = plain.get("minLength", 0), plain.get("maxLength", 1_000_000)
        known = [_FORMATS[form]] if (form := plain.get("format")) in _FORMATS else named_texts(name)
        candidates = chain(known, _choices(plain.get("pattern")), _texts(least, most))
        text = _first_that_fits(candidates, plain)
        if text is None:
            self.unmet.append(name)
        return MARK if text is None else text

    def _array(self, plain: Schema, name: str, around: tuple[str, ...]) -> list[Any]:
        first = [self._sample(item, name, None, False, around) for item in as_list(plain.get("prefixItems"))]
        least = plain.get("minItems", 0)
        if first or plain.get("maxItems") == 0:
            return first
        items = [self._sample(plain.get("items"), name, None, False, around) for _ in range(max(1, least))]
        items = [item for item in items if item is not None]
        if plain.get("uniqueItems"):
            items = [_another(item, number) for number, item in enumerate(items)]
        return items

    def _object(self, plain: Schema, around: tuple[str, ...]) -> dict[str, Any]:
        required = as_list(plain.get("required"))
        found: dict[str, Any] = {}
        for name, schema in as_mapping(plain.get("properties")).items():
            if (name in required or self._count < _MAX_VALUES) and not as_mapping(schema).get("readOnly"):
                value = self._sample(schema, name, None, False, around)
                if value is not None:
                    found[cleaned(name)] = value
        more = plain.get("additionalProperties")
        if not found and isinstance(more, Mapping):
            value = self._sample(more, "", None, False, around)
            return {} if value is None else {"key": value}
        return found

    def _marked(self, value: Any, plain: Schema, name: str, known: bool) -> Any:
        """Return the example ``value`` with the mark in its strings if they may contain it."""
        if isinstance(value, dict):
            properties = as_mapping(plain.get("properties"))
            return {
                key: self._marked(item, self.schemas.resolved(properties.get(key)), key, False)
                for key, item in value.items()
            }
        if isinstance(value, list):
            items = self.schemas.resolved(plain.get("items"))
            return [self._marked(item, items, name, known) for item in value]
        if (
            not isinstance(value, str)
            or "type" not in plain
            or type_of(plain) != "string"
            or "enum" in plain
            or "const" in plain
        ):
            return value
        if address := _ADDRESS.fullmatch(value):
            return _first_that_fits([f"{MARK}@{address[1]}"], plain) or value
        if known or "format" in plain or _IS_IDENTIFIER.search(name):
            return value
        return _first_that_fits([f"{value} {MARK}"], plain) or value


def cleaned(value: Any, depth: int = 0) -> Any:
    """Return ``value`` without null, nan, integers of more than 64 bits, and lone surrogates."""
    match value:
        case bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else None
        case float():
            return value if isfinite(value) else None
        case str():
            return value.replace(MARK, "").encode("utf-8", "replace").decode()
        case Mapping() if depth < _MAX_DEPTH:
            pairs = ((cleaned(str(key)), cleaned(item, depth + 1)) for key, item in value.items())
            return {key: item for key, item in pairs if item is not None}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [item for item in (cleaned(item, depth + 1) for item in value) if item is not None]
    return None


def _choices(pattern: object) -> list[str]:
    """Return the words of a pattern that only lists words, such as ``^(asc|desc)$``."""
    found = _ALTERNATIVES.fullmatch(pattern) if isinstance(pattern, str) else None
    return found[1].split("|") if found else []


def _texts(least: int, most: int) -> Iterator[str]:
    """Yield the candidates, those with the mark first."""
    yield MARK
    yield MARK + "x" * (least - len(_MARKS[0]))
    for letter in "xX1":
        yield from (letter * length for length in range(max(1, least), min(most, max(20, least)) + 1))
    yield from ("2030-01-31", "12:00", "+12025550123", "#a1b2c3", "1.0.0", "en-US", "A1", "a.b", "Sample sample", "")


def _first_that_fits(texts: Iterable[str], plain: Schema) -> str | None:
    """Return the first of ``texts`` that the limits and the pattern allow with every value of the mark."""
    fitting = (text for text in texts if all(_fits(text.replace(MARK, mark), plain) for mark in _MARKS))
    return next(fitting, None)


def _fits(text: str, plain: Schema) -> bool:
    if not plain.get("minLength", 0) <= len(text) <= plain.get("maxLength", len(text)):
        return False
    try:
        return re.search(plain.get("pattern", ""), text) is not None
    except (re.error, OverflowError, RecursionError):  # the regular expression is not valid in Python
        return False


def _number(plain: Schema, name: str, *, whole: bool) -> float:
    step = plain.get("multipleOf") or (1 if whole else 0)
    low, high = plain.get("minimum"), plain.get("maximum")
    over, under = plain.get("exclusiveMinimum"), plain.get("exclusiveMaximum")
    gap = step or (abs(under - over) / 2 if under is not None and over is not None else 0.5)
    low = over + gap if over is not None and (low is None or over >= low) else low
    high = under - gap if under is not None and (high is None or under <= high) else high
    likely = named_number(name)
    value = likely if low is None else max(likely, low)
    value = value if high is None else min(value, high)
    if step:
        value = ceil(value / step) * step
        value = value - step if high is not None and value > high else value
    return int(value) if whole else value


def _another(item: Any, number: int) -> Any:
    """Return an item that differs from the others of its array."""
    if not number or isinstance(item, bool):
        return item
    if isinstance(item, int | float):
        return item + number
    return f"{item}-{number}" if isinstance(item, str) else item
