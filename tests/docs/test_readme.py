"""The README, and the code on its pages: what they show of a user's own app is run here as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.delays import unmet_except_time_limits
from tests.support.documentation import README, blocks, page, section
from tests.support.processes import PATIENCE_S, environment, fastbg

TEXT = README.read_text("utf-8")


def write_shop(folder: Path, text: str) -> None:
    """The app and the script that ``text`` shows."""
    (app,), (script,) = blocks(text, "python"), blocks(text, "toml")
    (folder / "shop.py").write_text(app, encoding="utf-8")
    (folder / "shop.toml").write_text(script, encoding="utf-8")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the app and the script of the page on scripts."""
    write_shop(tmp_path, section(page("scripts"), "An example"))
    return tmp_path


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """A folder with the app and the script of the README."""
    write_shop(tmp_path, section(TEXT, "Your own app"))
    return tmp_path


def shown_command(text: str) -> list[str]:
    """The arguments of the only command in ``text``."""
    (line,) = blocks(text, "sh")
    command, *arguments = line.split()
    assert command == "fastbg"
    return arguments


def run_pytest(folder: Path, settings: str, *tests: str) -> str:
    """What pytest prints for these tests of the app in ``folder``; they have to pass."""
    (folder / "test_shop.py").write_text("\n".join(["import pytest\nimport shop\n", *tests]), encoding="utf-8")
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout.decode()
    return result.stdout.decode()


def test_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 170


def test_first_command_installs_and_shows_the_picture() -> None:
    assert blocks(TEXT, "sh")[0] == (
        "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/fastbg demo\n"
    )


def test_first_pytest_line_is_the_test_command() -> None:
    """`.ci/run` and `.ci/stress` take it from there."""
    first = next(line for line in TEXT.splitlines() if "-m pytest" in line)
    assert first == (
        "python3 -m venv .venv && .venv/bin/pip install --quiet -e '.[dev]' && .venv/bin/python -m pytest -q"
    )


@pytest.mark.parametrize(("title", "requests"), [("An example", 2), ("Load", 200)])
def test_script_and_load(title: str, requests: int, shop: Path) -> None:
    result = fastbg(*shown_command(section(page("scripts"), title)), "--json", cwd=shop)
    written = json.loads(result.stdout)
    assert (unmet_except_time_limits(written), result.stderr) == ([], b"")
    assert result.returncode == (0 if written["ok"] else 1)
    assert written["summary"]["response_first"] == requests


def test_script_of_the_readme(small_shop: Path) -> None:
    result = fastbg(*shown_command(section(TEXT, "Your own app")), "--json", cwd=small_shop)
    written = json.loads(result.stdout)
    assert (unmet_except_time_limits(written), result.stderr) == ([], b"")
    assert written["summary"]["response_first"] == 1


def test_ci_command_of_the_readme(small_shop: Path) -> None:
    result = fastbg(*shown_command(section(TEXT, "In CI")), cwd=small_shop, GITHUB_STEP_SUMMARY="summary.md")
    assert result.stderr == b""
    assert b"1 response-first" in result.stdout
    assert (small_shop / "fastbg.xml").exists()
    assert "response-first" in (small_shop / "summary.md").read_text("utf-8")


def test_commands_in_the_text_work(shop: Path) -> None:
    found = re.findall(r"`(fastbg [^`]*(?:--init|--schema)[^`]*)`", page("scripts"))
    assert len(found) == 2
    (shop / "shop.toml").unlink()
    for line in found:
        arguments, _, target = line.removeprefix("fastbg ").partition(" > ")
        result = fastbg(*arguments.split(), cwd=shop)
        assert (result.returncode, result.stderr) == (0, b""), result
        if target:
            (shop / target).write_bytes(result.stdout)
    assert json.loads((shop / "fastbg.schema.json").read_bytes())["$schema"]
    assert fastbg("demo", "shop.toml", cwd=shop).returncode == 0


def test_pytest_blocks_pass_with_that_app(shop: Path) -> None:
    text = page("pytest")
    (settings,) = blocks(text, "toml")
    assert re.search(r"\b6 passed", run_pytest(shop, settings, *blocks(text, "python")))


def test_pytest_block_of_the_readme_passes(small_shop: Path) -> None:
    text = section(TEXT, "In pytest")
    (settings,) = blocks(text, "toml")
    assert re.search(r"\b1 passed", run_pytest(small_shop, settings, *blocks(text, "python")))
