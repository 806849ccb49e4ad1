"""Likely values for a parameter or a field by its name, where its schema says only its type. Pure."""

import re

MARK = "\ue000"  # stands for ${mark} in a sample; a private-use character, so no app uses it

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# The last words of a name decide: "billing_country_code" is a country code. A list is tried in its order.
_TEXTS = {
    "language lang language_code lang_code target_language source_language": ("en", "EN", "eng", "en-US"),
    "locale culture": ("en-US", "en_US", "en"),
    "country country_code nationality": ("DE", "de", "DEU"),
    "currency currency_code": ("EUR", "eur"),
    "timezone time_zone tz": ("Europe/Berlin", "UTC"),
    "uuid guid": ("6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e",),
    "email mail email_address mail_address recipient": (f"{MARK}@example.com",),
    "url uri link website homepage webhook callback callback_url": (f"https://example.com/{MARK}",),
    "phone phone_number mobile telephone fax": ("+12025550123", "12025550123"),
    "date day from_date to_date start_date end_date due_date": ("2030-01-31",),
    "birthday birthdate birth_date date_of_birth dob": ("2000-01-31",),
    "datetime timestamp date_time start_time end_time": ("2030-01-31T12:00:00Z",),
    "time": ("12:00", "12:00:00"),
    "month": ("2030-01", "01"),
    "year": ("2030",),
    "ip ip_address": ("192.0.2.1",),
    "host hostname domain": ("example.com",),
    "color colour": ("#a1b2c3", "red"),
    "zip zip_code zipcode postcode postal_code": ("10115",),
    "latitude lat": ("52.5",),
    "longitude lon lng": ("13.4",),
    "version": ("1.0.0",),
    "slug": (MARK, f"a-{MARK}"),
}
_NUMBERS = {"year": 2030, "timestamp": 1_900_000_000, "port": 8000}

_BY_NAME = {tuple(name.split("_")): texts for names, texts in _TEXTS.items() for name in names.split()}
_LONGEST = max(map(len, _BY_NAME))


def named_texts(name: str) -> tuple[str, ...]:
    """Return likely texts for ``name``, such as "en" for "target_lang" or "targetLang"; none for other names."""
    words = _words(name)
    for count in range(min(_LONGEST, len(words)), 0, -1):
        if texts := _BY_NAME.get(tuple(words[-count:])):
            return texts
    return _BY_NAME["email",] if "email" in words else ()


def named_number(name: str) -> int:
    """Return a likely number for ``name``: 1, unless it is the name of something with much larger numbers."""
    return _NUMBERS.get(next(iter(_words(name)[-1:]), ""), 1)


def _words(name: str) -> list[str]:
    joined = re.sub(r"(?i)e-mail", "email", name)
    return [word.lower() for word in _WORD.findall(joined)]
