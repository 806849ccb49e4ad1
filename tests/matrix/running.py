"""Runs one cell: creates an environment and runs the core tests and the catalogue."""

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
from tests.matrix.differences import known_differences
from tests.support.delays import unmet_except_time_limits
from tests.support.processes import environment
from tests.support.queues import kill_group
from tests.support.servers import ROOT

PATIENCE_S = 1800.0
GRACE_S = 30.0
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "typer", "rich", "httpx", "pydantic")
QUERY = f"""
import json
from importlib.metadata import distributions
print(json.dumps({{each.name.lower(): each.version for each in distributions() if each.name.lower() in {PACKAGES}}}))
"""


@dataclass(slots=True)
class Outcome:
    """The result of a ``cell``.

    ``versions``: of the libraries. ``core``: the last line of pytest, empty if it did not run. ``scenarios``: number of
    scenarios as expected. ``differ``: the others with their unmet expectations. ``errors``: other failures.
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
        return known_differences(self.versions) if self.scenarios else set()

    @property
    def ok(self) -> bool:
        return not self.errors and set(self.differ) == self.expected

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
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


class CommandError(Exception):
    """A failed command of a cell, with its output."""


def build(folder: Path) -> Path:
    """Build the wheel of the project in ``folder``. Raises `CommandError`."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(cell: Cell, wheel: Path, folder: Path) -> Outcome:
    """Run ``cell`` in the environment ``folder``. An existing environment only gets the new wheel."""
    outcome = Outcome(cell)
    python = folder / "bin" / "python"
    try:
        _install(cell, wheel, folder)
        outcome.versions = json.loads(_run([python, "-c", QUERY], folder))
    except CommandError as failed:
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
    """Return the core tests as arguments for pytest."""
    lines = (ROOT / "tests" / "core.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("tests/")]


def _core(python: Path, outcome: Outcome) -> None:
    try:
        output = _run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *core()], ROOT)
    except CommandError as failed:
        output = str(failed)
        outcome.errors += re.findall(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE) or [f"core: {output}"]
    outcome.core = output.splitlines()[-1].strip("= ")


def _catalogue(folder: Path, outcome: Outcome) -> None:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    try:
        output = _run([folder / "bin" / "fastbg", "demo", "all", "--json"], work, accepted=(0, 1))
    except CommandError as failed:
        outcome.errors.append(f"fastbg demo all: {failed}")
        return
    runs = json.loads(output)["runs"]
    outcome.differ = {run["script"]: unmet for run in runs if (unmet := unmet_except_time_limits(run))}
    outcome.scenarios = len(runs) - len(outcome.differ)


def _run(command: Sequence[str | Path], cwd: Path, *, accepted: tuple[int, ...] = (0,)) -> str:
    """Return the standard output of ``command``. Raises `CommandError` for an exit code not in ``accepted``."""
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
            raise CommandError(f"it did not end within {PATIENCE_S:g} s") from expired
        finally:
            _end(process)
    if process.returncode not in accepted:
        raise CommandError((output + errors).strip() or f"exit code {process.returncode}")
    return output.strip()


def _end(process: "subprocess.Popen[str]") -> None:
    """Stop ``process`` and its child processes: with SIGINT, and after `GRACE_S` with SIGKILL."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()
