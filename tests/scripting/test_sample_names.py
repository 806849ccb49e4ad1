"""Likely values by the name of a parameter."""

import pytest

from fastbg.scripting.openapi import Schemas
from fastbg.scripting.sample_names import MARK, named_number, named_texts
from fastbg.scripting.samples import Samples


def sample(name: str, **schema: object) -> object:
    return Samples(Schemas({})).of({"type": "string", **schema}, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language", "en"),
        ("target_lang", "en"),
        ("userLanguage", "en"),
        ("locale", "en-US"),
        ("country", "DE"),
        ("shipping_country_code", "DE"),
        ("currency", "EUR"),
        ("tz", "Europe/Berlin"),
        ("e-mail", f"{MARK}@example.com"),
        ("contactEmail", f"{MARK}@example.com"),
        ("email_to", f"{MARK}@example.com"),
        ("callback_url", f"https://example.com/{MARK}"),
        ("start_date", "2030-01-31"),
        ("date_of_birth", "2000-01-31"),
        ("phone_number", "+12025550123"),
        ("request_uuid", "6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e"),
        ("slug", MARK),
        ("name", MARK),
        ("update", MARK),
        ("language_name", MARK),
    ],
)
def test_text_follows_from_the_last_words(name: str, value: str) -> None:
    assert sample(name) == value


@pytest.mark.parametrize(
    ("name", "schema", "value"),
    [
        ("language", {"minLength": 3}, "eng"),
        ("language", {"pattern": "^[A-Z]{2}$"}, "EN"),
        ("locale", {"pattern": "^[a-z]{2}_[A-Z]{2}$"}, "en_US"),
        ("country", {"minLength": 3, "maxLength": 3}, "DEU"),
        ("language", {"enum": ["fr", "de"]}, "fr"),
        ("language", {"default": "sw"}, "sw"),
        ("country", {"format": "date"}, "2030-01-31"),
        ("order", {"pattern": "^(asc|desc)$"}, "asc"),
        ("order", {"pattern": "up|down"}, "up"),
        ("order", {"pattern": "^(?:new-ones)$"}, "new-ones"),
        ("country", {"maxLength": 1}, "x"),
        ("slug", {"pattern": "^[a-z]+[a-z0-9-]*$"}, f"a-{MARK}"),
        ("size", {"pattern": "^(S|M)L$"}, MARK),
    ],
)
def test_text_is_valid_for_its_schema(name: str, schema: dict[str, object], value: str) -> None:
    assert sample(name, **schema) == value


@pytest.mark.parametrize(("name", "value"), [("year", 2030), ("birthYear", 2030), ("count", 1), ("", 1)])
def test_number_is_one_unless_its_name_says_more(name: str, value: int) -> None:
    assert named_number(name) == value
    assert Samples(Schemas({})).of({"type": "integer"}, name) == value


def test_name_without_a_meaning_has_no_texts() -> None:
    assert named_texts("") == named_texts("_") == named_texts("x") == ()


def test_number_keeps_its_limits() -> None:
    assert Samples(Schemas({})).of({"type": "integer", "maximum": 99}, "year") == 99
