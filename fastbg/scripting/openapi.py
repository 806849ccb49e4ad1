"""Resolves the schemas of an OpenAPI document: references, allOf and unions. Pure."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_MAX_REFERENCES = 20  # in a chain
_MAX_DEPTH = 5  # allOf inside allOf


class Schemas:
    """The schemas of an OpenAPI ``document``."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def resolved(self, schema: object) -> Schema:
        """Return ``schema`` with resolved references, merged parts, and one branch of each union."""
        return self.with_references(schema)[0]

    def with_references(self, schema: object, depth: int = 0) -> tuple[Schema, tuple[str, ...]]:
        """Return the resolved schema and its references. ``depth``: nesting of ``allOf``."""
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
                plain = _merged([*(part for part, _ in inner), rest])
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
    """Return the example of a schema, a parameter or a media type, or None."""
    if holder.get("example") is not None:
        return holder["example"]
    examples = holder.get("examples")
    if isinstance(examples, Mapping):  # by name, beside a schema
        values = [as_mapping(named).get("value") for named in examples.values()]
    else:
        values = as_list(examples)
    return next((value for value in values if value is not None), None)


def is_upload(plain: Schema) -> bool:
    return plain.get("format") == "binary" or plain.get("contentMediaType") == "application/octet-stream"


def type_of(plain: Schema) -> str:
    """Return the JSON type of a resolved schema; if there are several, the first that is not null."""
    kinds = plain.get("type")
    if isinstance(kinds, list):
        kinds = next((kind for kind in kinds if kind != "null"), "null")
    return str(kinds or ("object" if "properties" in plain else "array" if "items" in plain else "string"))


def as_mapping(value: object) -> Schema:
    """Return ``value`` if it is an object, else an empty object: a document may contain any value."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return ``value`` if it is an array, else an empty list."""
    return value if isinstance(value, list) else []


def _merged(schemas: list[Schema]) -> Schema:
    """Merge the parts of an ``allOf`` into one schema."""
    whole: dict[str, Any] = {}
    for schema in schemas:
        properties = {**as_mapping(whole.get("properties")), **as_mapping(schema.get("properties"))}
        required = [*as_list(whole.get("required")), *as_list(schema.get("required"))]
        whole = {**whole, **schema, "properties": properties, "required": required}
    return {key: value for key, value in whole.items() if value or key not in ("properties", "required")}
