"""Line numbers of the keys in a TOML document."""

import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of, lines_of, text_of

EXAMPLE = """\
# a comment with [brackets] and key = 1
title = "one"  # "quoted

env = { A = "1", "B.C" = 'two' }
follow = [
    "README.md",  # the first ]
    "log.txt",
]

[[request]]
name = '''
several
path = "not this"
'''
path = "/"
expect.body.id = 3
expect.tasks = [
    "a",
    { task = "b", within = 2 },
]

[[request]]
"name" = "second"

[request.expect]
status = 200
writes = [{ file = "x", text = \"""
[not.this]
\""" }, { file = "y" }]

[server]
loop = "auto"
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("env",), 4),
        (("env", "B.C"), 4),
        (("follow",), 5),
        (("follow", 0), 6),
        (("follow", 1), 7),
        (("request", 0), 10),
        (("request", 0, "name"), 11),
        (("request", 0, "path"), 15),
        (("request", 0, "expect"), 16),
        (("request", 0, "expect", "body"), 16),
        (("request", 0, "expect", "body", "id"), 16),
        (("request", 0, "expect", "tasks"), 17),
        (("request", 0, "expect", "tasks", 0), 18),
        (("request", 0, "expect", "tasks", 1), 19),
        (("request", 0, "expect", "tasks", 1, "within"), 19),
        (("request", 1), 22),
        (("request", 1, "name"), 23),
        (("request", 1, "expect"), 25),
        (("request", 1, "expect", "status"), 26),
        (("request", 1, "expect", "writes", 0, "text"), 27),
        (("request", 1, "expect", "writes", 1, "file"), 29),
        (("server", "loop"), 32),
    ],
)
def test_line_of_every_kind_of_key(path: KeyPath, line: int) -> None:
    assert tomllib.loads(EXAMPLE)
    assert lines_of(EXAMPLE)[path] == line


def test_line_of_nested_arrays_of_tables() -> None:
    first = "[[part]]\n[[part.request]]\na = 1\n[[part.request]]\n[part.request.expect]\nb = 1\n"
    lines = lines_of(first + "[[part]]\n[[part.request]]\na = 2")
    assert [lines["part", 0, "request", 0, "a"], lines["part", 0, "request", 1, "expect", "b"]] == [3, 6]
    assert [lines["part", 1], lines["part", 1, "request", 0, "a"]] == [7, 9]


PARTS = """\
app = "a:b"

# the trap
[[part]]
name = "trap"
[[part.request]]
path = "/"  # the first

# the remedy,
# in two lines
[[part]]
name = "remedy"
about = '''
# text
'''

[server]
loop = "auto"
"""


def test_text_of_a_table_has_its_comments_and_tables() -> None:
    lines = lines_of(PARTS)
    trap, remedy = (text_of(("part", number), PARTS, lines) for number in (0, 1))
    assert trap == '# the trap\n[[part]]\nname = "trap"\n[[part.request]]\npath = "/"  # the first'
    assert remedy == "# the remedy,\n# in two lines\n[[part]]\nname = \"remedy\"\nabout = '''\n# text\n'''"
    assert text_of(("server",), PARTS, lines) == '[server]\nloop = "auto"'


def test_windows_line_ends_count_once() -> None:
    assert lines_of('a = 1\r\n\r\nb = """x\r\ny"""\r\nc = 1979-05-27 07:32:00 # d = 1\r\n[d]\r\n') == {
        ("a",): 1,
        ("b",): 3,
        ("c",): 5,
        ("d",): 6,
    }


def test_key_without_a_line_has_the_line_of_its_parent() -> None:
    assert line_of(("request", 0, "path"), {("request", 0): 7}) == 7
    assert line_of((), {}) == 1


def test_long_documents_take_no_more_than_their_length() -> None:
    items = ",\n".join(f'{{ id = {number}, name = "n" }}' for number in range(20_000))
    text = f"[[request]]\njson = [\n{items}\n]\n" + "\n".join(f"k{number} = 1" for number in range(20_000))
    lines = lines_of(text)  # a quadratic algorithm takes minutes
    assert (lines["request", 0, "json", 19_999, "name"], lines["request", 0, "k19999"]) == (20_002, 40_003)


# Generated documents with known lines, in every syntax of TOML.


KEYS = {"a": "a", "b-1": "b-1", '"q.x"': "q.x", "'l = [t'": "l = [t", '"\\u00e9 \\""': 'é "', '"#"': "#", "1": "1"}
SCALARS = [
    ("1_000", 1000),
    ("-inf", float("-inf")),
    ("true", True),
    ("1979-05-27 07:32:00", datetime.datetime(1979, 5, 27, 7, 32)),  # noqa: DTZ001
    (r'"a \" ] } # = \\"', 'a " ] } # = \\'),
    ("'[x] = \"\\'", '[x] = "\\'),
    ('"""\n\na = 1 \\" ""\\\n  [b]\n""""', '\na = 1 " ""[b]\n"'),
    ("'''\n'x' ]\n# ''\n'''", "'x' ]\n# ''\n"),
    ('""', ""),
]
GAPS = ["", " ", "\n", " # ], } and 'more\n", "\n\n\t"]


class Document:
    """A generated text with the line of each key (``lines``)."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def mark(self, path: KeyPath, shortest: int) -> None:
        for end in range(shortest, len(path) + 1):
            self.lines.setdefault(path[:end], self.text.count("\n") + 1)

    def value(self, path: KeyPath, depth: int) -> Any:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
        if kind == "scalar":
            written, value = self.draw(st.sampled_from(SCALARS))
            self.text += written
            return value
        if kind == "array":
            items = []
            self.text += "["
            for number in range(self.draw(st.integers(0, 3))):
                self.text += self.draw(st.sampled_from(GAPS))
                self.mark((*path, number), len(path) + 1)
                items.append(self.value((*path, number), depth - 1))
                self.text += self.draw(st.sampled_from(GAPS)) + ","
            self.text += self.draw(st.sampled_from(GAPS)) + "]"
            return items
        self.text += "{ "
        table: dict[str, Any] = {}
        for number, name in enumerate(self.keys()):
            self.text += ", " if number else ""
            self.pair(table, path, name, depth - 1)
        self.text += " }"
        return table

    def keys(self) -> list[str]:
        return self.draw(st.lists(st.sampled_from(sorted(KEYS)), unique=True, max_size=3))

    def pair(self, table: dict[str, Any], path: KeyPath, name: str, depth: int) -> None:
        names = [name, *self.draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=2))]
        *tables, last = (KEYS[name] for name in names)
        whole = (*path, *tables, last)
        self.mark(whole, len(path) + 1)
        self.text += self.draw(st.sampled_from([".", " . "])).join(names) + self.draw(st.sampled_from(["=", " = "]))
        for inner in tables:
            table = table.setdefault(inner, {})
        table[last] = self.value(whole, depth)

    def body(self, path: KeyPath) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name in self.keys():
            self.text += self.draw(st.sampled_from(["", "# [c]\n", "\n", "  "]))
            self.pair(table, path, name, 3)
            self.text += self.draw(st.sampled_from(["\n", " # c = 1\n", "\n\n"]))
        return table


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[KeyPath, int]]:
    document = Document(draw)
    data = document.body(())
    for number in range(draw(st.integers(0, 2))):
        document.mark(("part", number), 2)
        document.text += "[[part]] # x\n"
        part = document.body(("part", number))
        data.setdefault("part", []).append(part)
        for inner in range(draw(st.integers(0, 2))):
            path = ("part", number, "request", inner)
            document.mark(path, 4)
            document.text += "[[ part . 'request' ]]\n"
            part.setdefault("request", []).append(document.body(path))
            document.mark((*path, "expect"), 5)
            document.text += "[part.request.expect]\n"
            part["request"][-1]["expect"] = document.body((*path, "expect"))
    return document.text, data, document.lines


@given(documents())
@settings(deadline=None)
def test_lines_agree_with_any_document(document: tuple[str, dict[str, Any], dict[KeyPath, int]]) -> None:
    text, data, lines = document
    assert tomllib.loads(text) == data
    found = lines_of(text)
    assert {path: line for path, line in found.items() if path in lines} == lines
    assert set(found) - set(lines) <= {("part",)} | {("part", n, "request") for n in range(2)}
