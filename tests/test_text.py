"""Escaping of text from outside, and suggestions of similar names."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.text import did_you_mean, escape_control

JOINERS = "\u200c\u200d"
UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_noncharacter(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # The Unicode Standard, 23.7


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 框架 🙂", "plain 框架 🙂"),
        ("a\x1b[31mred\n", r"a\x1b[31mred\n"),
        ("\x9b2J\x7f\x00", r"\x9b2J\x7f\x00"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("tab\tcr\r", r"tab\tcr\r"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
        ("[red]markup[/red] :smile:", "[red]markup[/red] :smile:"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert escape_control(text) == shown


def test_every_character_of_the_unsafe_categories_is_escaped() -> None:
    passed = [
        f"U+{code:04X}"
        for code in range(sys.maxunicode + 1)
        if (unicodedata.category(chr(code)) in UNSAFE or is_noncharacter(code))
        and chr(code) not in JOINERS
        and escape_control(chr(code)) == chr(code)
    ]
    assert passed == []


@given(st.text())
def test_result_is_one_printable_line(text: str) -> None:
    assert not any(
        unicodedata.category(character) in UNSAFE for character in escape_control(text) if character not in JOINERS
    )


def test_near_miss_is_named_and_nothing_else() -> None:
    assert did_you_mean("timout", ["title", "timeout"]) == "; did you mean timeout?"
    assert did_you_mean("GET ", ["get"]) == "; did you mean get?"
    assert did_you_mean("zzz", ["title", "timeout"]) == ""
