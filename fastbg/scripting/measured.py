"""The placeholders of a script's ``moral``: values that the run measures. Pure.

``${WHO | FIELD}``: WHO is the name of a request, ``PART: NAME`` if several parts have one of this name, or a verdict
for all requests with it. FIELD is one of `FIELDS`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

from fastbg.scripting import placeholders
from fastbg.text import did_you_mean

Field = Literal["response", "write", "lead", "task", "done", "blocked", "waited", "count"]
FIELDS: tuple[Field, ...] = get_args(Field)


def split(name: str) -> tuple[str, str]:
    """Return WHO and FIELD of a placeholder's name. FIELD is empty if it is missing."""
    who, _, field = (" ".join(part.split()) for part in name.rpartition("|"))
    return (who, field) if who else (field, "")


def mistakes(moral: str, known: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the placeholders of ``moral``. ``known``: what WHO may be."""
    names = list(known)
    if placeholders.is_unclosed(moral):
        yield "has a ${ without a }: add the }, or write $${ for the text ${"
    for name in placeholders.names(moral):
        who, field = split(name)
        if field not in FIELDS:
            yield f"${{{name}}} needs a measured value: write it as ${{NAME | {' or '.join(FIELDS)}}}"
        elif who not in names and (parts := [each for each in names if each.endswith(f": {who}")]):
            yield f"${{{name}}}: several parts have a request {who!r}: write {' or '.join(parts)}"
        elif who not in names:
            yield f"${{{name}}}: no request is called {who!r}{did_you_mean(who, names)}"


def filled(moral: str, value_of: Callable[[str, str], str | None]) -> str | None:
    """Return ``moral`` with the measured values, None if one of them is missing."""
    values = {name: value_of(*split(name)) for name in placeholders.names(moral)}
    return None if None in values.values() else placeholders.fill_text(moral, values)
