"""What the README shows of a user's own app is run here as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.delays import unmet_by_no_delay
from tests.support.processes import PATIENCE_S, environment, fastbg
from tests.support.servers import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the app and the script of the README."""
    (app,) = blocks("Your own app", "python")
    (script,) = blocks("A script", "toml")
    (tmp_path / "shop.py").write_text(app, encoding="utf-8")
    (tmp_path / "shop.toml").write_text(script, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("title", "requests"), [("A script", 2), ("Under load", 200)])
def test_script_and_load(title: str, requests: int, shop: Path) -> None:
    (line,) = blocks(title, "sh")
    command, *arguments = line.split()
    assert command == "fastbg"
    result = fastbg(*arguments, "--json", cwd=shop)
    written = json.loads(result.stdout)
    assert (unmet_by_no_delay(written), result.stderr) == ([], b"")
    assert result.returncode == (0 if written["ok"] else 1)
    assert written["summary"]["response_first"] == requests


def test_commands_in_the_text_work(shop: Path) -> None:
    found = re.findall(r"`(fastbg [^`]*(?:--init|--schema)[^`]*)`", section("A script"))
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
    tests = "\n".join(["import pytest\nimport shop\n", *blocks("In pytest", "python")])
    (shop / "test_shop.py").write_text(tests, encoding="utf-8")
    (shop / "pyproject.toml").write_text(blocks("In pytest", "toml")[0], encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=shop,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout.decode()
    assert re.search(rb"\b5 passed", result.stdout)
