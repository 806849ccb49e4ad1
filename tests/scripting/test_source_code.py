"""Marked lines in source code: definitions by their names, lines by their texts."""

import pytest

from fastbg.scripting.source_code import SourceCode, imported_from, source_code

SHOP = '''\
"""A shop."""

from shop.api import app as application


class Mailer:
    server = "send"

    @property
    def send(self) -> str:
        return "sent"


@app.post("/orders")
async def order(
    name: str,
) -> None:
    def ship() -> None:
        sleep(0.4)

    add_task(ship)


if True:
    def ship(): sleep(0.4)
'''


def marked(*entries: str) -> list[int]:
    made = source_code("shop.py", SHOP, [("trap", entry) for entry in entries])
    return [number for number in range(1, len(made.lines) + 1) if made.parts_of(number)]


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        ("Mailer", [6, 7, 8, 9, 10, 11]),
        ("Mailer.send", [9, 10, 11]),
        ("order", [14, 15, 16, 17, 18, 19, 20, 21]),
        ("order.ship", [18, 19]),
        ("ship", [25]),
        ("add_task(ship)", [21]),
        ("sleep(0.4)", [19, 25]),
        ("send", [7, 10]),
        ("nothing", []),
    ],
)
def test_entry_is_a_definition_or_a_text(entry: str, lines: list[int]) -> None:
    assert marked(entry) == lines


def test_line_belongs_to_every_part_that_marks_it() -> None:
    made = source_code("shop.py", SHOP, [("trap", "order.ship"), ("remedy", "sleep"), ("remedy", "nothing")])
    assert [made.parts_of(number) for number in (18, 19, 20)] == [("trap",), ("trap", "remedy"), ()]
    assert made.parts == ("trap", "remedy")
    assert made.only("remedy").parts_of(19) == ("remedy",)
    assert [mark.entry for mark in made.marks if not mark.lines] == ["nothing"]


def excerpt(made: SourceCode, part: str) -> list[int]:
    return list(made.excerpt(part))


def test_excerpt_is_the_statements_with_marks_of_a_part() -> None:
    made = source_code("shop.py", SHOP, [("trap", "add_task"), ("trap", '"""A shop'), ("remedy", "order.ship")])
    assert excerpt(made, "trap") == [1, *range(14, 22)]
    assert excerpt(made, "other") == list(range(1, 26))


@pytest.mark.parametrize("broken", ["def order(:\n    sleep(1)\n", "sleep(1) \0", "(" * 10_000 + "\nsleep(1)"])
def test_code_that_is_not_python_has_only_texts(broken: str) -> None:
    made = source_code("shop.py", broken, [("trap", "sleep(1)"), ("trap", "order")])
    (number,) = made.marks[0].lines
    assert "sleep(1)" in made.lines[number - 1]
    assert excerpt(made, "trap") == sorted(made.marks[0].lines | made.marks[1].lines)


def test_long_chain_of_branches_is_searched() -> None:
    chain = "if x == 0:\n    pass\n" + "elif x:\n    pass\n" * 1500 + "else:\n    def last(): ...\n"
    assert source_code("shop.py", chain, [("trap", "last")]).marks[0].lines == {3004}


def test_invalid_escape_is_no_warning() -> None:
    assert source_code("shop.py", 'x = "\\d"\n', [("trap", "x = ")]).marks[0].lines == {1}


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("from shop.api import app", "shop.api"),
        ("from .api import make as app", "shop.api"),
        ("from . import app", "shop"),
        ("from .... import app", None),
        ("from shop.api import other", None),
        ("import app", None),
        ("def f():\n    from shop.api import app", None),
        ("from shop.api import (", None),
    ],
)
def test_origin_of_an_imported_app(text: str, module: str | None) -> None:
    assert imported_from(text, "app", "shop") == module
