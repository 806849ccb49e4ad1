"""Runs one cell: an environment of its own, the core of the suite, the catalogue."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.matrix.cells import Cell
from tests.matrix.differences import known
from tests.support.delays import unmet_except_time_limits
from tests.support.processes import environment
from tests.support.queues import kill_group
from tests.support.servers import ROOT

PATIENCE_S = 1800.0
GRACE_S = 30.0
SHOWN = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "typer", "rich", "httpx", "pydantic")
ASK = f"""
import json
from importlib.metadata import distributions
print(json.dumps({{found.name.lower(): found.version for found in distributions() if found.name.lower() in {SHOWN}}}))
"""


@dataclass(slots=True)
class Outcome:
    """What came out of the ``cell``.

    ``versions``: of the libraries there. ``core``: the last line of pytest, empty if it did not run. ``scenarios``: how
    many came out as they say; ``differ``: the others, with what was not as it should be. ``errors``: what failed else.
    """

    cell: Cell
    versions: dict[str, str] = field(default_factory=dict)
    core: str = ""
    scenarios: int = 0
    differ: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def expected(self) -> set[str]:
        """The scenarios that are known to differ with these versions."""
        return known(self.versions) if self.scenarios else set()

    @property
    def ok(self) -> bool:
        return not self.errors and set(self.differ) == self.expected

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "cell": str(self.cell),
            "ok": self.ok,
            "python": self.cell.python.version,
            "versions": self.versions,
            "core": self.core or None,
            "scenarios": self.scenarios,
            "differ": self.differ,
            "known": sorted(self.expected),
            "errors": self.errors,
        }


class Failed(Exception):
    """A command of a cell failed; the text says how."""


def build(folder: Path) -> Path:
    """The wheel of the project, made in ``folder``. Raises `Failed`."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(cell: Cell, wheel: Path, folder: Path) -> Outcome:
    """What comes out of ``cell``, with an environment in ``folder``; one that is there already gets the new wheel."""
    outcome = Outcome(cell)
    python = folder / "bin" / "python"
    try:
        _install(cell, wheel, folder)
        outcome.versions = json.loads(_run([python, "-c", ASK], folder))
    except Failed as failed:
        outcome.errors.append(f"installing: {failed}")
        return outcome
    if cell.core:
        _core(python, outcome)
    _catalogue(folder, outcome)
    return outcome


def _install(cell: Cell, wheel: Path, folder: Path) -> None:
    complete = folder / "complete"
    if complete.exists():
        _pip(folder, "--no-deps", "--force-reinstall", wheel)
        return
    _run([cell.python.path, "-m", "venv", "--clear", folder], folder.parent)
    _pip(folder, f"{wheel}[dev]", *cell.packages, *(("-c", cell.constraints) if cell.constraints else ()))
    complete.touch()


def _pip(folder: Path, *arguments: str | Path) -> None:
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
    _run([*pip, *arguments], folder)


def core() -> list[str]:
    """The tests that are the core of the suite, as pytest takes them."""
    lines = (ROOT / "tests" / "core.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("tests/")]


def _core(python: Path, outcome: Outcome) -> None:
    try:
        said = _run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *core()], ROOT)
    except Failed as failed:
        said = str(failed)
        outcome.errors += re.findall(r"^(?:FAILED|ERROR) .*", said, re.MULTILINE) or [f"core: {said}"]
    outcome.core = said.splitlines()[-1].strip("= ")


def _catalogue(folder: Path, outcome: Outcome) -> None:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    try:
        said = _run([folder / "bin" / "fastbg", "demo", "all", "--json"], work, fine=(0, 1))
    except Failed as failed:
        outcome.errors.append(f"fastbg demo all: {failed}")
        return
    runs = json.loads(said)["runs"]
    outcome.differ = {run["script"]: unmet for run in runs if (unmet := unmet_except_time_limits(run))}
    outcome.scenarios = len(runs) - len(outcome.differ)


def _run(command: Sequence[str | Path], cwd: Path, *, fine: tuple[int, ...] = (0,)) -> str:
    """What ``command`` writes to standard output. Raises `Failed` for an exit code that is not ``fine``."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"it did not end within {PATIENCE_S:g} s") from expired
        finally:
            _end(process)
    if process.returncode not in fine:
        raise Failed((output + errors).strip() or f"exit code {process.returncode}")
    return output.strip()


def _end(process: "subprocess.Popen[str]") -> None:
    """End ``process`` if it still runs, with all that it has started: as Ctrl-C does, and by force if that is late."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()
