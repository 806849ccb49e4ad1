"""Schemas of an OpenAPI document: their references followed and their parts put together. Pure."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_MAX_REFERENCES = 20  # one after the other
_MAX_DEPTH = 5  # allOf inside allOf


class Schemas:
    """The schemas of an OpenAPI ``document``, which references lead into."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def resolved(self, schema: object) -> Schema:
        """Return ``schema`` with references followed, its parts put together, and one branch of its unions taken."""
        return self.with_references(schema)[0]

    def with_references(self, schema: object, depth: int = 0) -> tuple[Schema, tuple[str, ...]]:
        """Return what `resolved` does, and the references that led to it. ``depth``: of parts inside parts."""
        references: tuple[str, ...] = ()
        plain = as_mapping(schema)
        for _ in range(_MAX_REFERENCES):
            rest = dict(plain)
            if isinstance(reference := rest.pop("$ref", None), str):
                references += (reference,)
                plain = {**self._at(reference), **rest}
            elif parts := as_list(rest.pop("allOf", None)):
                inner = [self.with_references(part, depth + 1) for part in parts] if depth < _MAX_DEPTH else []
                references += tuple(name for _, names in inner for name in names)
                plain = _together([*(part for part, _ in inner), rest])
            elif branches := as_list(rest.pop("anyOf", None)) or as_list(rest.pop("oneOf", None)):
                first = next((branch for branch in map(as_mapping, branches) if branch.get("type") != "null"), {})
                plain = {**first, **rest}
            else:
                break
        return plain, references

    def _at(self, reference: str) -> Schema:
        place: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            place = as_mapping(place).get(part.replace("~1", "/").replace("~0", "~"))
        return as_mapping(place)


def example(holder: Schema) -> Any:
    """The example that a schema, a parameter or a media type gives, or None."""
    if holder.get("example") is not None:
        return holder["example"]
    examples = holder.get("examples")
    if isinstance(examples, Mapping):  # by name, beside a schema
        values = [as_mapping(named).get("value") for named in examples.values()]
    else:
        values = as_list(examples)
    return next((value for value in values if value is not None), None)


def is_upload(plain: Schema) -> bool:
    """Whether a property of a multipart form is a file."""
    return plain.get("format") == "binary" or plain.get("contentMediaType") == "application/octet-stream"


def type_of(plain: Schema) -> str:
    """Return the JSON type of the values that a resolved schema allows; of several the first that is not null."""
    kinds = plain.get("type")
    if isinstance(kinds, list):
        kinds = next((kind for kind in kinds if kind != "null"), "null")
    return str(kinds or ("object" if "properties" in plain else "array" if "items" in plain else "string"))


def as_mapping(value: object) -> Schema:
    """Return ``value`` if it is an object, else an empty one: a document may hold anything."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return ``value`` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def _together(schemas: list[Schema]) -> Schema:
    """What has to hold all at once, as one schema."""
    whole: dict[str, Any] = {}
    for schema in schemas:
        properties = {**as_mapping(whole.get("properties")), **as_mapping(schema.get("properties"))}
        required = [*as_list(whole.get("required")), *as_list(schema.get("required"))]
        whole = {**whole, **schema, "properties": properties, "required": required}
    return {key: value for key, value in whole.items() if value or key not in ("properties", "required")}
