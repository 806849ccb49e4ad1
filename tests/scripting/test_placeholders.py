"""Placeholders: found, replaced, and escaped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.scripting import placeholders

FILLED = {"mark": "m-1", "count": 3, "sure": True, "user": {"id": 7}}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain", []),
        ("${mark} and ${env.HOME}", ["mark", "env.HOME"]),
        ("$${mark}", []),
        ("$$${mark}", []),
        ("${}", [""]),
        ("${mark", []),
        ("{mark} $mark", []),
    ],
)
def test_placeholders_are_found(text: str, names: list[str]) -> None:
    assert placeholders.names(text) == names


@pytest.mark.parametrize(
    ("text", "unclosed"), [("${mark", True), ("${a${b}", True), ("$${mark", False), ("${mark}", False), ("$ {", False)]
)
def test_placeholder_without_an_end_is_found(text: str, unclosed: bool) -> None:
    assert placeholders.is_unclosed(text) is unclosed


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("x ${mark} y", "x m-1 y"),
        ("${count}", 3),
        ("n=${count}", "n=3"),
        ("${user}", {"id": 7}),
        ("is ${sure}", "is true"),
        ("$${mark}", "${mark}"),
        ("${other}", "${other}"),
        (["${mark}", {"${mark}": ["${count}"]}, 1.5], ["m-1", {"m-1": [3]}, 1.5]),
    ],
)
def test_placeholders_are_filled_in(value: object, filled: object) -> None:
    assert placeholders.fill(value, FILLED) == filled


def test_filled_text_stays_text_and_is_quoted_on_request() -> None:
    assert placeholders.fill_text("${count}", FILLED) == "3"
    assert (
        placeholders.fill("${mark}/${count}", {"mark": "a b", "count": "?"}, quote=lambda text: f"<{text}>")
        == "<a b>/<?>"
    )


@given(st.text(alphabet="${}mark. ", max_size=40))
def test_unknown_placeholders_stay_and_escapes_are_resolved(text: str) -> None:
    assert placeholders.fill_text(text, {}) == text.replace("$${", "${")


def test_every_text_comes_with_its_path_and_keys_count_too() -> None:
    found = list(placeholders.texts({"a": ["x", 1, {"b": "y"}], "c": True}))
    assert found == [(("a",), "a"), (("a", 0), "x"), (("a", 2, "b"), "b"), (("a", 2, "b"), "y"), (("c",), "c")]


def test_every_leaf_comes_with_its_path() -> None:
    assert list(placeholders.leaves({"a": ["x", 1, {"b": None}], "c": {}})) == [
        (("a", 0), "x"),
        (("a", 1), 1),
        (("a", 2, "b"), None),
    ]


@pytest.mark.parametrize(("path", "found"), [("", {"items": [{"id": 5}]}), ("items.0.id", 5), ("items.0", {"id": 5})])
def test_value_at_a_path_of_keys_and_numbers(path: str, found: object) -> None:
    assert placeholders.at({"items": [{"id": 5}]}, path) == found


@pytest.mark.parametrize("path", ["other", "items.1", "items.x", "items.²", "items.0.id.deeper", "items." + "9" * 5000])
def test_path_that_leads_nowhere_is_a_lookup_error(path: str) -> None:
    with pytest.raises(LookupError):
        placeholders.at({"items": [{"id": 5}]}, path)


@given(st.text(alphabet="${}mark. ", max_size=40))
def test_escaped_text_has_no_placeholder_and_stays_the_same(text: str) -> None:
    assert placeholders.names(placeholders.escape(text)) == []
    assert placeholders.fill(placeholders.escape(text), {"mark": "m-1", "": 1}) == text
