"""Samples for schemas: each is valid for its schema and for TOML."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fastbg.scripting.openapi import Schemas, example
from fastbg.scripting.sample_names import MARK
from fastbg.scripting.samples import Samples, cleaned

DOCUMENT = {
    "components": {
        "schemas": {
            "Name": {"type": "string", "minLength": 4, "maxLength": 20},
            "Pet": {
                "type": "object",
                "properties": {"name": {"$ref": "#/components/schemas/Name"}},
                "required": ["name"],
            },
            "a/b~c": {"const": 5},
            "Loop": {"$ref": "#/components/schemas/Loop"},
            "Knot": {"allOf": [{"$ref": "#/components/schemas/Knot"}, {"$ref": "#/components/schemas/Knot"}]},
            "Tree": {
                "type": "object",
                "properties": {
                    "left": {"$ref": "#/components/schemas/Tree"},
                    "right": {"$ref": "#/components/schemas/Tree"},
                    "forest": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
                },
            },
        }
    }
}


def sample(schema: object, name: str = "x", **given: Any) -> Any:
    return Samples(Schemas(DOCUMENT)).of(schema, name, **given)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, MARK),
        ({"type": "string", "format": "email"}, f"{MARK}@example.com"),
        ({"type": "string", "format": "email", "maxLength": 10}, "x"),
        ({"type": "string", "maxLength": 2}, "x"),
        ({"type": "string", "pattern": "^[0-9]{8}$"}, "11111111"),
        ({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}, "2030-01-31"),
        ({"type": "string", "default": "plain"}, "plain"),
        ({"type": "string", "default": ""}, MARK),
        ({"type": "string", "enum": [None, "red"]}, "red"),
        ({"type": "string", "examples": ["a word"]}, f"a word {MARK}"),
        ({"type": "string", "examples": ["a word"], "maxLength": 10}, "a word"),
        ({"type": "string", "examples": ["me@shop.org"]}, f"{MARK}@shop.org"),
        ({"type": "string", "format": "date", "examples": ["2001-01-01"]}, "2001-01-01"),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "multipleOf": 10, "maximum": 30}, 10),
        ({"type": "integer", "default": 0}, 0),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "boolean", "default": False}, False),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "string"}}, [MARK]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [1, MARK]),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"anyOf": [{"type": "integer"}], "default": 7}, 7),
        ({"allOf": [{"$ref": "#/components/schemas/Name"}], "default": None}, MARK),
        ({"$ref": "#/components/schemas/Pet"}, {"name": MARK}),
        ({"$ref": "#/components/schemas/Pet", "example": {"name": "Rex", "id": None}}, {"name": f"Rex {MARK}"}),
        ({"$ref": "#/components/schemas/a~1b~0c"}, 5),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"key": 1}),
        ({"type": "object", "properties": {"a": {"type": "integer", "readOnly": True}}}, {}),
        ({"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "integer"}}, "1"),
    ],
)
def test_sample_is_from_the_author_or_the_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_example_beside_the_schema_comes_before_those_inside() -> None:
    assert sample({"type": "string", "example": "inside"}, given="beside") == f"beside {MARK}"


@pytest.mark.parametrize("name", ["id", "user_id", "userId", "api-key", "token"])
def test_example_that_identifies_something_is_kept(name: str) -> None:
    assert sample({"type": "string"}, name, given="x-1") == "x-1"
    assert sample({"type": "string"}, "xid", given="x-1", known=True) == "x-1"


@pytest.mark.parametrize("name", ["Loop", "Knot", "Tree"])
def test_schema_inside_itself_has_an_end(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}"}
    assert len(json.dumps(sample({"type": "array", "items": schema, "minItems": 3}))) < 1000


def test_pattern_without_a_sample_is_reported() -> None:
    samples = Samples(Schemas({}))
    schema = {"type": "object", "properties": {"vat": {"type": "string", "pattern": "^DE[0-9]{9}$"}}}
    assert samples.of(schema, "") == {"vat": MARK}
    assert samples.unmet == ["vat"]
    assert samples.of({"type": "string", "pattern": r"\p{L}"}, "other") == MARK


def test_values_that_toml_lacks_are_removed() -> None:
    assert cleaned({"a": None, "b": [1, None, float("nan")], "c": 2**70, "d": f"x{MARK}\ud800", 5: object()}) == {
        "b": [1],
        "d": "x?",
    }


def test_example_may_be_one_of_several_with_names() -> None:
    assert example({"examples": {"first": {"summary": "none here"}, "second": {"value": 3}}}) == 3
    assert example({"examples": []}) is None


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.integers(-50, 50)
    sizes = st.integers(0, 30)

    def between(low: str, high: str, **rest: Any) -> st.SearchStrategy[dict[str, Any]]:
        none: dict[str, int] = {}
        pair = st.tuples(bounds, st.integers(2, 40)).map(lambda found: {low: found[0], high: found[0] + found[1]})
        return st.one_of(st.just(none), pair).map(lambda limits: {**rest, **limits})

    texts = st.tuples(sizes, sizes).map(
        lambda found: {"type": "string", "minLength": min(found), "maxLength": max(found)}
    )
    leaves = st.one_of(
        texts,
        between("minimum", "maximum", type="integer"),
        between("exclusiveMinimum", "exclusiveMaximum", type="integer"),
        between("minimum", "exclusiveMaximum", type="number"),
        between("exclusiveMinimum", "maximum", type="number"),
        st.sampled_from([{"type": "boolean"}, {"const": 3}, {"enum": ["a", 1]}, {"$ref": "#/components/schemas/Pet"}]),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.integers(0, 3)).map(
                lambda found: {"type": "array", "items": found[0], "minItems": found[1]}
            ),
            st.dictionaries(st.sampled_from(["a", "email", "c d"]), inner, max_size=3).map(
                lambda found: {"type": "object", "properties": found, "required": sorted(found)}
            ),
            st.lists(inner, min_size=1, max_size=2).map(lambda found: {"anyOf": [{"type": "null"}, *found]}),
            inner.map(lambda found: {"allOf": [found], "description": "x"}),
        ),
        max_leaves=8,
    )


@given(schemas())
@settings(deadline=None)
def test_sample_is_valid_whatever_the_mark(schema: dict[str, Any]) -> None:
    text = json.dumps(sample(schema))
    for mark in ("0a1b2c-1", "0a1b2c-000001"):
        value = json.loads(text.replace(json.dumps(MARK)[1:-1], mark))
        Draft202012Validator({**schema, **DOCUMENT}).validate(value)
