"""What `--help` shows of each command, in every version of Typer; its examples are run or parsed."""

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from fastbg.cli import app
from tests.support.documentation import README, blocks, section
from tests.support.processes import PATIENCE_S, environment, fastbg, read_rest, terminal

GROUP: Any = typer.main.get_command(app)  # of Click, or of what Typer has instead
COMMANDS = {"": GROUP, **GROUP.commands}
EXAMPLES = [line for command in COMMANDS.values() for line in command.epilog.splitlines()]
ENDLESS = ("fastbg run", "fastbg serve", "fastbg worker", "fastbg tail")
PYTHON = r"[<>]=|<[a-z]|list\[|\b(?:INTEGER|FLOAT|TEXT|PATH|FILENAME|BOOLEAN|RANGE)\b"

each_command = pytest.mark.parametrize("name", COMMANDS)


@cache
def shown(name: str, option: str = "--help", columns: int = 80) -> str:
    result = fastbg(*name.split(), option, COLUMNS=str(columns))
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


def panels(text: str) -> dict[str, list[str]]:
    """The lines below each heading, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z].*:", line):
            found[line[:-1]] = []
        elif found and line.strip():
            list(found.values())[-1].append(line)
    return found


@each_command
def test_short_form_shows_the_same(name: str) -> None:
    assert shown(name, "-h") == shown(name)


def test_versions_have_a_short_form() -> None:
    assert shown("", "-V") == shown("", "--version")
    assert shown("", "-V").startswith("fastbg ")


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("", "[OPTIONS] COMMAND [ARGS]..."),
        ("demo", "[OPTIONS] [SCRIPT]..."),
        ("serve", "[OPTIONS] [APP] [-- OPTION]..."),
        ("tail", "[OPTIONS] [FILE]..."),
        ("report", "[OPTIONS] [JOURNAL]..."),
        ("show", "[OPTIONS] [SCRIPT]"),
        ("worker", "[OPTIONS] [BROKER] [MODULE]..."),
        ("explain", "[OPTIONS] [TOPIC]..."),
    ],
)
def test_usage_shows_what_may_be_left_out_or_repeated(name: str, usage: str) -> None:
    assert shown(name).splitlines()[0].split(maxsplit=1)[1].endswith(f" {name} {usage}".replace("  ", " "))


@pytest.mark.parametrize("columns", [60, 80, 200])
@each_command
def test_help_fits_the_width_and_shows_no_types(name: str, columns: int) -> None:
    text = shown(name, columns=columns)
    assert max(len(line) for line in text.splitlines()) <= columns
    assert not re.search(PYTHON, text)


@each_command
def test_every_option_is_shown_once_with_a_text(name: str) -> None:
    text = shown(name)
    for parameter in COMMANDS[name].params:
        long = max(parameter.opts, key=len) if parameter.opts[0].startswith("-") else parameter.metavar
        lines = [line for line in text.splitlines() if re.match(rf"  (-\w, )?{re.escape(long)}(?![\w-])", line)]
        assert len(lines) == 1, long
        assert len(parameter.help.split()) >= 3, long


@each_command
def test_panel_of_the_command_itself_comes_first(name: str) -> None:
    titles = list(panels(shown(name)))
    first = next(title for title in titles if title not in ("Arguments", "Commands"))
    assert (first, titles[-1]) == ("Options", "Examples")
    assert any(line.startswith("  -h, --help ") for line in panels(shown(name))["Options"])


def test_same_option_is_in_the_same_panel_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for name in GROUP.commands:
        for title, lines in panels(shown(name)).items():
            for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", "\n".join(lines), re.MULTILINE):
                found.setdefault(option, set()).add(title)
    assert [option for option, titles in found.items() if len(titles) > 1] == []
    assert found["--dir"] == {"Data folder"}
    assert found["--json"] == {"Output"}
    assert found["--broker"] == {"Queue"}


def test_defaults_and_variables_are_shown() -> None:
    text = " ".join(shown("serve").split())
    for remark in ("[default: 8000]", "[default: .fastbg] [env: FASTBG_DIR]", "[default: on]", "[default: process]"):
        assert remark in text
    assert "[default: False]" not in text


# examples


@pytest.mark.parametrize("columns", [60, 80])
@each_command
def test_two_examples_keep_their_lines(name: str, columns: int) -> None:
    lines = panels(shown(name, columns=columns))["Examples"]
    assert [line.removeprefix("  ") for line in lines] == COMMANDS[name].epilog.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"  fastbg {name}") for line in lines)


@pytest.mark.parametrize("line", EXAMPLES)
def test_example_is_a_valid_command_line(line: str) -> None:
    _, command, *arguments = shlex.split(line)
    GROUP.commands[command].make_context(command, arguments)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the app and the script of the README, and the journal of a run."""
    folder = tmp_path_factory.mktemp("shop")
    text = section(README.read_text("utf-8"), "Your own app")
    (folder / "shop.py").write_text(blocks(text, "python")[0], encoding="utf-8")
    (folder / "shop.toml").write_text(blocks(text, "toml")[0], encoding="utf-8")
    assert fastbg("demo", "shop.toml", cwd=folder).returncode in (0, 1)
    for pod in ("pod1", "pod2"):
        (folder / pod).mkdir()
        shutil.copy(folder / ".fastbg" / "journal.jsonl", folder / pod)
    return folder


@pytest.mark.parametrize("line", [line for line in EXAMPLES if not line.startswith(ENDLESS)])
def test_example_does_what_it_says(line: str, shop: Path) -> None:
    result = fastbg(*shlex.split(line)[1:], cwd=shop)
    allowed = (0, 1) if " demo " in f"{line} " else (0,)  # 1: a slow machine
    assert (result.returncode in allowed, bool(result.stdout), result.stderr) == (True, True, b"")


# how it is shown


def test_terminal_gets_bold_names_and_a_pipe_gets_none() -> None:
    for term, bold in (("xterm", True), ("dumb", False)):
        with terminal("demo", "--help", TERM=term) as (process, screen):
            on_screen = read_rest(screen)
            assert process.wait(PATIENCE_S) == 0
        assert (b"\x1b[1mServer\x1b[0m:" in on_screen) is bold
        assert (b"\x1b" in on_screen) is bold
    assert "\x1b" not in shown("demo")


def test_help_does_not_import_rich() -> None:
    known = "import sys, typer; print('rich' in sys.modules)"
    if subprocess.run([sys.executable, "-c", known], capture_output=True, check=True).stdout == b"True\n":
        pytest.skip("this version of Typer imports it itself")
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastbg", "demo", "--help"],
        capture_output=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=True,
    )
    imported = {line.rsplit("|")[-1].strip() for line in result.stderr.decode().splitlines()}
    assert "fastbg.commands.help" in imported
    assert imported.isdisjoint({"rich", "asyncio", "fastapi", "httpx", "uvicorn"})
