"""Keys and values in messages."""

import datetime

import pytest

from fastbg.scripting.faults import describe_value, key_text
from fastbg.scripting.placeholders import KeyPath


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "the script"),
        (("request", 1, "expect", "verdict"), "request[2].expect.verdict"),
        (("env", "A.B"), 'env."A.B"'),
        (('a "b"\n',), '"a \\"b\\"\\n"'),
    ],
)
def test_key_is_written_as_in_toml_with_numbers_from_1(path: KeyPath, text: str) -> None:
    assert key_text(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        ('a\n"b" 中', '"a\\n\\"b\\" 中"'),
        ({}, "an empty table"),
        ({"a": 1}, "a table"),
        ([], "an empty array"),
        ([1], "an array"),
        (datetime.date(1979, 5, 27), "1979-05-27"),
    ],
)
def test_value_is_shown_in_one_line(value: object, text: str) -> None:
    assert describe_value(value) == text


@pytest.mark.parametrize("value", ["x" * 1000, 16**20_000], ids=["text", "number"])
def test_long_value_is_cut(value: object) -> None:
    assert len(describe_value(value)) <= 80
