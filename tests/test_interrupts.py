"""Ctrl-C during an import."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, environment

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
