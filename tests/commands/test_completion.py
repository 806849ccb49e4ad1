"""Completion in bash, zsh and fish: with the script that fastbg prints, as the shells call it."""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastbg.commands.completion import apps, scripts, topics
from tests.support.processes import PATIENCE_S, environment, on_terminal, read_until

BIN = Path(sys.executable).parent
SHOP = """
import fastapi
from fastapi import FastAPI
from missing import nothing

app = FastAPI(title="shop")
admin: FastAPI = fastapi.FastAPI()
router = fastapi.APIRouter()
pattern = "\\d"

def build() -> FastAPI: ...
def create_app(): ...
def application_name() -> str: ...
"""
COMPLETE = """
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_fastbg_completion fastbg
printf '%s\\n' "${COMPREPLY[@]}"
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: with apps, scripts, and files that are neither."""
    (tmp_path / "shop.py").write_text(SHOP)
    for name in ("api", "not-a-module", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("from starlette.applications import Starlette\napp = Starlette()\n")
    (tmp_path / "api" / "__init__.py").write_text("application = object()\n")
    (tmp_path / "broken.py").write_text("app = FastAPI(\n")
    (tmp_path / "binary.py").write_bytes(b"app = FastAPI()\xff\0")
    (tmp_path / "unreadable.py").symlink_to("nowhere")
    (tmp_path / "shop.toml").touch()
    (tmp_path / "two words.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_fastbg(**more: str) -> dict[str, str]:
    return environment(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", **more)


def run(*command: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    result = subprocess.run(
        command, capture_output=True, env=with_fastbg(**more), timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False
    )
    assert result.stderr == b""
    return result


@functools.cache
def script_for_bash() -> str:
    return run("fastbg", _FASTBG_COMPLETE="source_bash").stdout.decode()


def in_bash(*words: str) -> list[str]:
    return run("bash", "-c", script_for_bash() + COMPLETE, "bash", *words).stdout.decode().split()


# in shells


@needs_bash
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fastbg", "exp"], ["explain"]),
        (["fastbg", "demo", "sigk"], ["sigkill"]),
        (["fastbg", "demo", "sho"], ["shop.toml"]),
        (["fastbg", "demo", "sigkill", "al"], ["all"]),
        (["fastbg", "demo", "api/"], []),  # bash completes the path
        (["fastbg", "demo", "--save", "x"], []),
        (["fastbg", "demo", "--sa"], ["--save"]),
        (["fastbg", "demo", "--app", "api.m"], ["api.main:app"]),
        (["fastbg", "serve", "shop:a"], ["shop:app", "shop:admin"]),
        (["fastbg", "serve", "shop", ":"], ["app", "admin", "build", "create_app"]),
        (["fastbg", "serve", "shop", ":", "ad"], ["admin"]),
        (["fastbg", "serve", "shop", ":", "app", "--rel"], ["--reload"]),
        (["fastbg", "demo", "--app", "=", "shop", ":", "b"], ["build"]),
        (["fastbg", "serve", "--engine", "q"], ["queue"]),
        (["fastbg", "explain", "drop"], ["dropped"]),
        (["fastbg", "report", ""], []),
    ],
)
def test_word_in_bash(words: list[str], found: list[str]) -> None:
    assert in_bash(*words) == found


@needs_bash
def test_tab_key_in_bash(tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("source <(_FASTBG_COMPLETE=source_bash fastbg)\nPS1='ready> '\n")
    with on_terminal(["bash", "--noprofile", "--rcfile", "rc", "-i"], cwd=tmp_path, env=with_fastbg()) as (_, screen):
        read_until(screen, b"ready> ")
        os.write(screen, b"fastbg serve shop:ad\t")
        read_until(screen, b"fastbg serve shop:admin ")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fastbg demo sigk", ["sigkill"]),
        ("fastbg serve shop:ad", ["shop:admin"]),
        ("fastbg demo --app api.", ["api.main:app"]),
        ("fastbg explain --hel", ["--help"]),
    ],
)
def test_word_in_zsh_and_fish(line: str, found: list[str]) -> None:
    more = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    zsh = run("fastbg", _FASTBG_COMPLETE="complete_zsh", **more).stdout.decode()
    assert re.findall(r'(?:\(\(|^)"([^"]+)"', zsh.replace("\\", ""), re.MULTILINE) == found
    fish = run("fastbg", _FASTBG_COMPLETE="complete_fish", **more).stdout.decode()
    assert [each.partition("\t")[0] for each in fish.splitlines()] == found


def test_zsh_and_fish_complete_other_files_themselves() -> None:
    line = {"_TYPER_COMPLETE_ARGS": "fastbg tail sh"}
    assert run("fastbg", _FASTBG_COMPLETE="complete_zsh", **line).stdout == b"_files\n"
    action = {"_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    assert run("fastbg", _FASTBG_COMPLETE="complete_fish", **line, **action).returncode == 1


@needs_bash
def test_completion_is_installed_for_the_shell(tmp_path: Path) -> None:
    result = run("bash", "-c", "fastbg --install-completion; true", HOME=str(tmp_path))
    assert b"bash completion installed in" in result.stdout
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert script.read_text().strip() == run("bash", "-c", "fastbg --show-completion; true").stdout.decode().strip()
    assert str(script) in (tmp_path / ".bashrc").read_text()


# values


def test_apps_are_found_without_an_import() -> None:
    shop = [f"shop:{name}" for name in ("app", "admin", "build", "create_app")]
    assert apps("") == [*shop, "api:application", "api.main:app"]
    assert apps("sh") == apps("shop:") == shop
    assert apps("nothing") == []


def test_app_in_a_deep_folder_is_found_once_it_is_named(folder: Path) -> None:
    (folder / "one" / "two" / "three").mkdir(parents=True)
    (folder / "one" / "two" / "three" / "web.py").write_text("app = 1\n")
    assert apps("one.two.") == []
    assert apps("one.two.three.") == ["one.two.three.web:app"]


def test_scripts_are_built_in_or_in_the_folder() -> None:
    assert {"all", "default", "sigkill", "shop.toml"} < set(scripts(""))
    assert scripts("two") == []  # a shell would need quotes


def test_topics_are_pages_and_then_words() -> None:
    assert {"evidence", "commands"} < set(topics(""))
    assert "dropped" not in topics("")
    assert "client+file" in topics("client")


def test_completion_imports_nothing_large(folder: Path) -> None:
    code = (
        "import sys\n"
        "from fastbg.commands.completion import apps, scripts, topics\n"
        "assert apps('') and scripts('') and topics('a')\n"
        "heavy = 'fastapi starlette uvicorn httpx asyncio pydantic rich typer shop api'.split()\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    assert run(sys.executable, "-c", code, PYTHONPATH=str(folder)).stdout == b"[]\n"
