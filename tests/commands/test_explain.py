"""`fastbg explain`: pages and words; each word of the screen, of scripts, of JSON and of the journal has a passage."""

import ast
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console, Group
from rich.table import Table

from fastbg.commands.explain import blocks, find, for_terminal, name_of, names, read_pages, rows, sections
from fastbg.events import Source, Verdict
from fastbg.evidence.tasks import TaskState
from fastbg.recorder import journal_events
from fastbg.report import console, tables, timelines
from fastbg.report.document import document
from fastbg.report.history import requests
from fastbg.report.journals import journals_table
from fastbg.report.screen import Screen
from fastbg.report.style import unmet_mark
from fastbg.scripting.model import Script
from tests.support.documentation import PAGES
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, read_rest, terminal
from tests.support.recordings import mail
from tests.support.results import background, run, runs
from tests.support.servers import ROOT

SCHEMA: dict[str, Any] = json.loads(Script.schema_text())
ONE = """# One

About one. And more.

## `word`

The heading.

### Below

Deeper.

## Other

Else.
"""
TWO = """# Two

About two.

## Table

| key | is |
| --- | --- |
| `--other`, `x \\| y` | A row. |
| `third()` | Z |

```sh
# Word
| `word` |
```
"""


# each word has a passage


def titles(*tables: Table) -> Iterator[str]:
    """The lines of the headers of tables."""
    for table in tables:
        for column in table.columns:
            yield from filter(None, str(column.header).replace("  ", "").split("\n"))


def screen_words() -> Iterator[str]:
    load = run(background(), background())
    overview = console.overview([run()], encoding="utf-8")
    assert isinstance(overview, Group)
    (first,) = (each for each in overview.renderables if isinstance(each, Table))
    yield from titles(tables.verdicts(run(), encoding="utf-8"), tables.distributions(load, encoding="utf-8"), first)
    yield from titles(requests(()), journals_table(()))
    for values in (timelines.CLIENT_LEGEND, timelines.JOURNAL_LEGEND, timelines.UNICODE, timelines.ASCII):
        yield from (text for text in astuple(values) if isinstance(text, str) and text.strip())
    yield from replace(load.requests[0], of_many=2).name.split()[-1:]
    yield from (unmet_mark("utf-8"), unmet_mark("ascii"), "(expected)", "waiting for")
    yield from (str(task.description) for task in Screen(Console(), run, str, step=False)._bars.tasks)
    yield from ("only the server's events prove the order", "blocked the event loop", "no journal of this server")


def evidence_words() -> Iterator[str]:
    yield from (*get_args(Verdict), *get_args(Source), *get_args(TaskState))
    yield from SCHEMA["$defs"]["TaskExpect"]["properties"]["where"]["enum"]
    combined = {text for text in constants() if re.fullmatch(r"(client|file|server)\+(file|server|worker)", text)}
    assert len(combined) == 3
    yield from combined


@cache
def modules() -> list[ast.Module]:
    return [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "fastbg").rglob("*.py"))]


def constants() -> Iterator[str]:
    """Every text in the code."""
    for module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def journal_words() -> Iterator[str]:
    """The events that have a function, those of a worker, and the fields in the dictionary of their types."""
    makers = vars(journal_events).items()
    found = {name for name, each in makers if getattr(each, "__annotations__", {}).get("return") is journal_events.Line}
    assert {"request_received", "events_lost"} <= found
    yield from (name for name in found if not name.startswith("_") and name != "task_in_worker")
    yield from get_args(journal_events.WorkerEvent)
    fields = [
        {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
        for module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Dict)
    ]
    known = {name for names in fields if {"sending_ns", "buffered", "waited_ms"} <= names for name in names}
    assert known
    yield from known


def script_words() -> Iterator[str]:
    for table in (SCHEMA, *SCHEMA["$defs"].values()):
        yield from table["properties"]


def json_words(value: object) -> Iterator[str]:
    """The names of all fields; values of others, as the body of a response, are left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in ("versions", "body"):
                yield from json_words(inner)
    elif isinstance(value, list):
        for item in value:
            yield from json_words(item)


def without_passage(found: Iterable[str], page: str) -> list[str]:
    pages = {page: read_pages()[page]}
    known = {name_of(word) for word in found}
    assert known
    return sorted(word for word in known if not [*sections(word, pages), *rows(word, pages)])


@pytest.mark.parametrize(
    ("kind", "page"),
    [(screen_words, "evidence"), (evidence_words, "evidence"), (journal_words, "journal"), (script_words, "scripts")],
)
def test_every_word_has_a_passage(kind: Callable[[], Iterator[str]], page: str) -> None:
    assert without_passage(kind(), page) == []


def test_every_field_of_demo_has_a_passage() -> None:
    assert without_passage(json_words([document(runs()), document([run(), run()])]), "json") == []


def test_every_field_of_report_and_tail_has_a_passage(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(mail())
    (tmp_path / "log.txt").write_text("a line\n")
    report = fastbg("report", tmp_path / "journal.jsonl", "--json")
    tail = fastbg("tail", "--no-follow", "--journal", "--json", "--dir", tmp_path)
    lines = [json.loads(line) for line in tail.stdout.splitlines()]
    assert {line["source"] for line in lines} >= {"file", "server"}
    fields = {key for line in lines for key in line}
    assert without_passage([*json_words(json.loads(report.stdout)), *fields], "json") == []


# what is found


@pytest.fixture
def small() -> Any:
    return {name: tuple(blocks(text)) for name, text in (("one", ONE), ("two", TWO))}


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        ("one", [("one", "# One", "Else.")]),
        ("ONE", [("one", "# One", "Else.")]),
        ("word", [("one", "## `word`", "Deeper.")]),
        ("`Word`", [("one", "## `word`", "Deeper.")]),
        ("below", [("one", "### Below", "Deeper.")]),
        ("other", [("one", "## Other", "Else.")]),
        ("x | y", [("two", "## Table", "| `--other`, `x \\| y` | A row. |")]),
        ("third", [("two", "## Table", "| `third()` | Z |")]),
        ("key", []),
        ("Z", []),
        ("", []),
    ],
)
def test_page_then_heading_then_rows(topic: str, found: list[tuple[str, str, str]], small: Any) -> None:
    passages = find(topic, small)
    shown = [(each.page, each.blocks[0].lines[0], each.blocks[-1].lines) for each in passages]
    assert [(page, first) for page, first, _ in shown] == [(page, first) for page, first, _ in found]
    for (_, _, lines), (_, _, last) in zip(shown, found, strict=True):
        assert last in lines


def test_code_is_neither_heading_nor_table(small: Any) -> None:
    assert [block.kind for block in small["two"]] == ["heading", "text", "heading", "table", "code"]
    assert len(small["two"][-1].lines) == 4


def test_names_are_what_can_be_found(small: Any) -> None:
    assert set(names(small)) == {"one", "two", "word", "below", "other", "table", "x | y", "third"}
    assert all(find(name, small) for name in names(small))


def test_every_name_on_the_pages_is_found() -> None:
    pages = read_pages()
    assert set(pages) == set(PAGES)
    assert [name for name in names(pages) if not find(name, pages)] == []


def test_links_name_the_command_of_their_page() -> None:
    text = "![a picture](x.svg)[one](one.md), [two](two.md#x), [here](#y), [file](../a.py), [web](https://x.y)"
    expected = "one (`fastbg explain one`), two (`fastbg explain two`), here, file, [web](https://x.y)"
    assert for_terminal(text) == expected


# the command


def shown(*arguments: str, columns: int = 80) -> str:
    result = fastbg("explain", *arguments, COLUMNS=str(columns))
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


@pytest.mark.parametrize("columns", [60, 80])
def test_alone_it_lists_the_pages(columns: int) -> None:
    text = shown(columns=columns)
    assert re.findall(r"^([a-z]+)  ", text, re.MULTILINE)[1:] == sorted(PAGES)
    assert "How far the times and verdicts of fastbg" in text


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("page", sorted(PAGES))
def test_page_fits_the_width(page: str, columns: int) -> None:
    text = shown(page, columns=columns)
    assert text.startswith("# ")
    assert max(len(line) for line in text.splitlines()) <= min(columns, 100)
    assert not re.search(r"\w\.md[#)]", text)


@pytest.mark.parametrize(
    ("words", "passages"),
    [
        (["dropped"], ["### dropped", "never started", "Whole page: fastbg explain evidence"]),
        (["client+file"], ["### client+file", "the size of each followed file"]),
        (["lead"], ["## The tables", "lead write minus", "how much"]),
        (["task_dropped"], ["## Events", "The request ended and the task never started"]),
        (["response_within"], ["## Keys of expect", "at most this many seconds"]),
        (["within"], ["## Keys of tasks", "## Keys of writes", "Whole page: fastbg explain scripts"]),
        (["status"], ["## The tables", "## Keys of expect", "field of a request", "Whole page: fastbg explain json"]),
        (["blocked", "the", "event", "loop"], ["## Other words", "One step of an"]),
        (["✗"], ["NOT"]),
        (["FASTBG_BROKER_ACK_WAIT"], ["## Settings", "delivered again"]),
        (["sigkill"], ["# The catalogue", "?"]),
        (["tail"], ["## fastbg tail", "--no-follow"]),
    ],
)
def test_word_is_explained(words: list[str], passages: list[str]) -> None:
    text = " ".join(shown(*words).split())
    for passage in passages:
        assert passage in text


def test_unknown_word_says_what_may_be_meant_and_where_to_look() -> None:
    result = fastbg("explain", "drpped\x1b")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"drpped" in result.stderr
    assert b"\x1b" not in result.stderr
    assert b"did you mean dropped?" in result.stderr
    assert b"`fastbg explain` lists the pages" in result.stderr


def test_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        result = subprocess.run(
            [*FASTBG, "explain", "evidence"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=PATIENCE_S,
            check=False,
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_interrupt_ends_it(tmp_path: Path) -> None:
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Find:\n    def find_spec(self, name, *rest):\n"
        f"        if name == 'fastbg.commands.explain':\n            exec({program!r})\n"
        "sys.meta_path.insert(0, Find())\n"
    )
    result = subprocess.run(
        [*FASTBG, "explain", "evidence"],
        capture_output=True,
        env=environment(PYTHONPATH=str(tmp_path)),
        timeout=PATIENCE_S,
        check=False,
    )
    assert (result.returncode, result.stdout) == (130, b"")
    assert b"Traceback" not in result.stderr


def test_terminal_gets_styles_and_a_pipe_gets_none() -> None:
    with terminal("explain", "dropped") as (process, screen):
        on_screen = read_rest(screen)
        assert process.wait(PATIENCE_S) == 0
    assert b"\x1b[1mdropped" in on_screen
    assert "\x1b" not in shown("dropped")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_page_begins_with_a_title_and_a_sentence(page: str) -> None:
    title, text = read_pages()[page][:2]
    assert (title.kind, title.level, text.kind) == ("heading", 1, "text")
    assert text.lines[0].endswith(".")
    assert ". " not in text.lines[0]
