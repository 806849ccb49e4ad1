"""The JSON Schema in the package, for editors."""

import json
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

import fastbg
from fastbg.scripting.model import Script
from tests.scripting.test_model import HEAD, WHOLE

BUILT_IN = Path(fastbg.__file__).parent / "scripts"
SHIPPED: dict[str, Any] = json.loads((BUILT_IN / "schema.json").read_text("utf-8"))
MADE_WITH = (2, 14)  # the pydantic version that generated it; others may differ in form

# Editors support one of the drafts: Tombi 2020-12, Taplo (Even Better TOML) draft-07.
VALIDATORS = [Draft202012Validator, Draft7Validator]


def pydantic() -> tuple[int, ...]:
    return tuple(int(part) for part in version("pydantic").split(".")[:2])


@pytest.mark.skipif(pydantic() < MADE_WITH, reason="an older pydantic may generate a different form")
def test_shipped_schema_is_that_of_the_model() -> None:
    """To update the file, write `Script.schema_text()` to it."""
    assert (BUILT_IN / "schema.json").read_text("utf-8") == Script.schema_text()


@pytest.mark.parametrize("validator", VALIDATORS)
def test_schema_is_valid_in_both_drafts(validator: type[Draft7Validator | Draft202012Validator]) -> None:
    validator.check_schema(SHIPPED)


def tables(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "the script", schema
    yield from schema["$defs"].items()


@pytest.mark.parametrize("schema", [SHIPPED, json.loads(Script.schema_text())], ids=["shipped", "installed pydantic"])
def test_every_key_has_a_description_and_none_may_be_null(schema: dict[str, Any]) -> None:
    for name, table in tables(schema):
        assert table["description"].endswith("."), name
        for key, value in table["properties"].items():
            assert value.get("description", "").endswith("."), f"{name}: {key}"
    assert "null" not in json.dumps(schema)


LENIENT = [
    "expect.status = 201",
    "expect.status = [200, 201]",
    "expect = { status = 'any', verdict = 'any' }",
    "expect.tasks = ['send', { task = 'log', state = 'finished' }]",
    "expect.body = 'null'",
    "expect.writes = [{ file = 'log.txt', deleted = true }, { file = 'log.txt', created = true }]",
    "timeout = 1\nexpect.response_within = 1",
    "json = [1, { a = 'b' }]",
    "query = { a = [1, 'x'], b = true }",
]
WRONG = [
    "expect.status = '201'",
    "expect.status = 20",
    "expect.status = []",
    "expect.tasks = 'send'",
    "expect.tasks = [{ name = 'log' }]",
    "expect.verdict = 'response'",
    "expect.writes = [{ text = 'x' }]",
    "expect.writes = [{ file = 'log.txt', deleted = false }]",
    "expect.lead_at_least = 0",
    "methd = 'GET'",
    "method = 'get'",
    "query = { a = { b = 1 } }",
    "save = { a = 'id' }",
    "repeat = 0",
]


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        HEAD.replace('name = "order"', ""),
        *(HEAD + line for line in LENIENT),
        *(path.read_text("utf-8") for path in BUILT_IN.glob("*.toml")),
    ],
)
def test_correct_script_is_valid(text: str, validator: type[Draft7Validator | Draft202012Validator]) -> None:
    assert not [error.message for error in validator(SHIPPED).iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize("line", WRONG)
def test_incorrect_script_is_invalid(line: str, validator: type[Draft7Validator | Draft202012Validator]) -> None:
    (error,) = validator(SHIPPED).iter_errors(tomllib.loads(HEAD + line))
    assert list(error.absolute_path)[:2] == ["request", 0]
