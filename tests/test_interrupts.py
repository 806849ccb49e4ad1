"""Ctrl-C during an import."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, environment
from tests.support.servers import ROOT

IMPORTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('imported', flush=True)\n"


def run(folder: Path, program: str) -> "subprocess.CompletedProcess[bytes]":
    (folder / "interrupted.py").write_text(IMPORTED, encoding="utf-8")
    begin = "import os, signal\nfrom fastbg.interrupts import defer, raise_deferred\ndefer()\n"
    return subprocess.run(
        [sys.executable, "-c", begin + program],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder)),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_interrupt_in_an_import_is_raised_when_it_is_over(tmp_path: Path) -> None:
    program = "import interrupted\ntry:\n    raise_deferred()\nexcept KeyboardInterrupt:\n    print('raised')\n"
    result = run(tmp_path, program)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"imported\nraised\n", b"")


@pytest.mark.parametrize("before", ["", "raise_deferred()\n"], ids=["deferring", "afterwards"])
def test_interrupt_elsewhere_is_raised_at_once(before: str, tmp_path: Path) -> None:
    result = run(tmp_path, f"{before}os.kill(os.getpid(), signal.SIGINT)\nprint('went on')\n")
    assert (result.returncode, result.stdout) == (-signal.SIGINT, b"")


def test_interrupt_while_typer_is_imported_has_no_traceback(tmp_path: Path) -> None:
    """A module in the place of Typer sends the signal, and then imports Typer."""
    (tmp_path / "typer.py").write_text(
        "import os, signal, sys\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.path.remove(os.path.dirname(__file__))\n"
        "del sys.modules['typer']\n"
        "import typer\n",
        encoding="utf-8",
    )
    module, _, function = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][
        "fastbg"
    ].partition(":")
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from {module} import {function}\n{function}()",
            "demo",
            "--dir",
            str(tmp_path / "data"),
        ],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")
