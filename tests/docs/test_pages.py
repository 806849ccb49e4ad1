"""The README, the pages and the guide for contributors: their commands, options, links and code blocks are right."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import uvicorn

from fastbg.cli import app
from fastbg.report.document import document
from tests.support.documentation import CONTRIBUTING, DOCUMENTS, PAGES, README, blocks, page, section, without_blocks
from tests.support.results import runs
from tests.support.servers import ROOT

GROUP: Any = typer.main.get_command(app)  # of Click, or of what Typer has instead
LANGUAGES = {"sh", "python", "toml", "json", "conf", "text"}
CODE_WIDTH = 78  # columns of a code block that `fastbg explain` shows in 80

by_name = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)


def options(command: Any) -> set[str]:
    """The options of fastbg or of one of its commands, as one writes them."""
    names = {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name[0] == "-"}
    return {"--help", "-h", *names}


OPTIONS = {name: options(command) for name, command in GROUP.commands.items()}
GENERAL = options(GROUP)
UVICORN = options(uvicorn.main) | {"--"}


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command line in ``text`` that calls fastbg, without ``fastbg``."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    for line in (*lines, *inline_code(text)):
        for command in re.split(r" (?:&&|\||>) ", line):
            name, _, rest = command.removeprefix(".venv/bin/").partition(" ")
            if name == "fastbg" and rest:
                yield shlex.split(rest)


@by_name
def test_commands_and_their_options_exist(path: Path) -> None:
    for name, *words in commands(path.read_text("utf-8")):
        if name == "COMMAND" or name in GENERAL:
            continue
        assert name in OPTIONS, name
        given = [word.partition("=")[0] for word in words if word.startswith("-")]
        own = given.index("--") if "--" in given else len(given)
        assert {*given[:own]} <= OPTIONS[name], (name, words)
        if name == "serve":
            assert {*given[own:]} <= UVICORN, words


def test_options_of_every_command_are_described() -> None:
    text = page("commands")
    for command, known in OPTIONS.items():
        described = inline_code(section(text, f"`fastbg {command}`"))
        everywhere = {"--help", "--dir", "--work"} | {option for option in known if len(option) == 2}
        negated = {option for option in known if f"--no-{option.removeprefix('--')}" in known}
        if command == "worker":  # as serve
            everywhere |= OPTIONS["serve"]
        assert known - everywhere - negated <= {word for code in described for word in code.split()}, command


@pytest.mark.parametrize("path", [README, *PAGES.values()], ids=lambda path: path.stem)
def test_options_that_stand_alone_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for name, title in (("versions", "The matrix"), ("run", "Servers")):  # of other programs
        if path == PAGES[name]:
            text = text.replace(section(text, title), "")
    known = GENERAL.union(*OPTIONS.values(), UVICORN)
    assert {code.split()[0] for code in inline_code(text) if re.match(r"--\w", code)} <= known


@pytest.mark.parametrize("path", [README, PAGES["commands"]], ids=lambda path: path.stem)
def test_table_of_commands_has_all(path: Path) -> None:
    rows = re.findall(r"^\| `fastbg (\w+)[^`]*` \| \w", path.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(OPTIONS)


@by_name
def test_modules_that_are_run_exist(path: Path) -> None:
    for module in re.findall(r"python -m (tests[.\w]*)", path.read_text("utf-8")):
        assert find_spec(f"{module}.__main__"), module


@by_name
def test_every_installation_works_from_a_clone(path: Path) -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    for arguments in re.findall(r"pip install (?:-\S+ )*([^`&\n]+)", path.read_text("utf-8")):
        target = shlex.split(arguments)[0]
        folder, _, named = target.rstrip("]").partition("[")
        assert folder in (".", "../fastbg"), arguments
        assert set(filter(None, named.split(","))) <= extras


def anchors(path: Path) -> set[str]:
    """The headings of a document as a code host names them in links."""
    titles = re.findall(r"^#+ (.*)$", without_blocks(path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@by_name
def test_relative_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_blocks(path.read_text("utf-8")))
    for link in links:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_readme_links_every_page() -> None:
    links = set(re.findall(r"\]\(([^)\s]+)\)", README.read_text("utf-8")))
    assert {path.relative_to(ROOT).as_posix() for path in (*PAGES.values(), CONTRIBUTING)} <= links


def test_guide_for_contributors_is_short() -> None:
    assert len(CONTRIBUTING.read_text("utf-8").splitlines()) <= 60


@by_name
def test_code_blocks_are_valid(path: Path) -> None:
    text = path.read_text("utf-8")
    fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}
    for code in blocks(text, "python"):
        compile(code, path.name, "exec")
    for code in blocks(text, "json"):
        json.loads(code)
    for code in blocks(text, "toml"):
        if '" ; ' not in code and " @ git+" not in code:  # of two files
            tomllib.loads(code)
    for code in blocks(text, "text"):
        assert all(len(line) <= CODE_WIDTH for line in code.splitlines())


def test_shown_json_has_the_fields_of_the_document() -> None:
    (code,) = blocks(page("json"), "json")
    assert_within(json.loads(code), document(runs()))


def assert_within(shown: object, written: object) -> None:
    """Every field that is shown is written, at the same place."""
    if isinstance(shown, dict) and shown:
        assert isinstance(written, dict)
        for key, value in shown.items():
            assert key in written
            assert_within(value, written[key])
    elif isinstance(shown, list):
        assert isinstance(written, list)
        if shown and written:
            assert_within(shown[0], written[0])
