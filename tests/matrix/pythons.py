"""Finds the Pythons that are installed on this machine."""

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
QUERY = """
import platform, sys, sysconfig
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(platform.python_version(), "{}.{}".format(*sys.version_info) + threads)
"""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Python:
    """An installed Python. ``version``: "3.13.0". ``name``: "3.13", or "3.13t" for a free-threaded one."""

    path: Path
    version: str
    name: str

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", self.version))


def find_pythons(named: Iterable[Path] = ()) -> list[Python]:
    """Return one Python per supported name, sorted by version: one of ``named``, otherwise the newest.

    Searches PATH, pyenv and uv. Raises `FastbgError` if a path in ``named`` is not a supported Python.
    """
    found = {python.name: python for python in sorted(_query_all(_candidates()), key=lambda python: python.order)}
    for path in named:
        python = _query(path)
        if python is None:
            raise FastbgError(
                "not a Python that fastbg supports",
                where=f"--python {path}",
                remedy=f"choose a Python {_supported()}",
            )
        found[python.name] = python
    return sorted(found.values(), key=lambda python: python.order)


def _candidates() -> Iterator[Path]:
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


def _query_all(paths: Iterable[Path]) -> Iterator[Python]:
    for path in {path.resolve() for path in paths}:
        if python := _query(path):
            yield python


def _query(path: Path) -> Python | None:
    """Return the Python at ``path``, or None if it does not run or is not supported."""
    try:
        answer = subprocess.run([path, "-c", QUERY], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        version, name = answer.stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return Python(path.absolute(), version, name) if version in _supported() else None


@cache
def _supported() -> SpecifierSet:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return SpecifierSet(tomllib.loads(text)["project"]["requires-python"], prereleases=True)
