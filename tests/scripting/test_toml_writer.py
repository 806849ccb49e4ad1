"""Written TOML is read back without changes."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbg.scripting.toml_writer import MAX_WIDTH, assignment, to_toml

LONG = "x" * (MAX_WIDTH - 10)


def values() -> st.SearchStrategy[Any]:
    texts = st.text(st.characters(exclude_categories=["Cs"]))  # TOML is UTF-8
    scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
    return st.recursive(scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)), max_leaves=20)


@given(values())
@settings(deadline=None)
def test_value_is_read_back_from_printable_lines(value: Any) -> None:
    lines = list(assignment("key", value))
    assert all(line.isprintable() for line in lines)
    assert tomllib.loads("\n".join(lines))["key"] == value


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"a": 1, "b c": [True, "x"]}, ['key = { a = 1, "b c" = [true, "x"] }']),
        ({}, ["key = {}"]),
        ({"a": LONG, "b c": 1}, [f'key.a = "{LONG}"', 'key."b c" = 1']),
        ({LONG: {"x" * 20: {}}}, [f"key.{LONG}.{'x' * 20} = {{}}"]),
        ([LONG, {"a": 1}], ["key = [", f'    "{LONG}",', "    { a = 1 },", "]"]),
    ],
)
def test_long_table_or_array_takes_one_line_per_item(value: object, lines: list[str]) -> None:
    assert list(assignment("key", value)) == lines


def test_invisible_characters_are_escaped() -> None:
    assert to_toml("a\n\x7f\u202e中") == '"a\\n\\U0000007f\\U0000202e中"'
