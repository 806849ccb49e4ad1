"""The Pythons that are installed here."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from fastbg.errors import FastbgError
from tests.support.servers import ROOT

PYENV = Path("~/.pyenv/versions").expanduser()
ASK = """
import platform, sys, sysconfig
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(platform.python_version(), "{}.{}".format(*sys.version_info) + threads)
"""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Python:
    """``version``: "3.13.0"; ``name``: "3.13", with a "t" at its end where it is free-threaded."""

    path: Path
    version: str
    name: str

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", self.version))


def find(named: Iterable[Path] = ()) -> list[Python]:
    """One Python of each name that the project supports, in their order: of those ``named``, else the newest.

    Looked for on PATH, where pyenv keeps them, and where uv says. Raises `FastbgError` where a named one is none.
    """
    found = {python.name: python for python in sorted(_ask_all(_places()), key=lambda python: python.order)}
    for path in named:
        python = _ask(path)
        if python is None:
            raise FastbgError(
                "that is no Python that fastbg supports",
                where=f"--python {path}",
                remedy=f"name one that is {_supported()}",
            )
        found[python.name] = python
    return sorted(found.values(), key=lambda python: python.order)


def _places() -> Iterator[Path]:
    folders = [Path(folder) for folder in os.get_exec_path()]
    for folder in [*folders, *PYENV.glob("*/bin")]:
        for path in folder.glob("python3.*"):
            version = re.fullmatch(r"python(3\.\d+)t?", path.name)
            if version and version[1] in _supported():
                yield path
    if uv := shutil.which("uv"):
        command = [uv, "python", "list", "--only-installed", "--output-format", "json"]
        listed = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
        yield from (Path(entry["path"]) for entry in json.loads(listed.stdout))


def _ask_all(paths: Iterable[Path]) -> Iterator[Python]:
    for path in {path.resolve() for path in paths}:
        if python := _ask(path):
            yield python


def _ask(path: Path) -> Python | None:
    """The Python at ``path``; None where it does not run, or is not supported."""
    try:
        answer = subprocess.run([path, "-c", ASK], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        version, name = answer.stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return Python(path.absolute(), version, name) if version in _supported() else None


@cache
def _supported() -> SpecifierSet:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return SpecifierSet(tomllib.loads(text)["project"]["requires-python"], prereleases=True)
