"""A process ends after its parent has ended, with all start methods."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import PATIENCE_S, descendants, environment, is_running, read_until, wait_until

FAMILY = """
import multiprocessing, sys, time
from fastbg.server.parent import end_with

def child():
    end_with(multiprocessing.parent_process().sentinel)
    print("started", flush=True)
    time.sleep(3600)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    for _ in range(2):  # a second fork inherits the pipe of the first
        multiprocessing.Process(target=child).start()
    time.sleep(3600)
"""

IGNORES_SIGTERM = """
import signal, sys, time
from fastbg.server import parent
signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
parent.ORPHAN_S = 0.1
parent.end_with(sys.stdin.fileno())
while True:
    time.sleep(3600)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_end_with_a_killed_parent(method: str, tmp_path: Path) -> None:
    (tmp_path / "family.py").write_text(FAMILY)
    command = [sys.executable, str(tmp_path / "family.py"), method]
    with TemporaryDirectory() as folder:  # of the forkserver's socket, whose path must be short
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(TMPDIR=folder)) as parent:
            try:
                read_until(parent.stdout, b"(?s)started.*started")
                children = descendants(parent.pid)
            finally:
                parent.kill()
        assert len(children) >= 2
        wait_until(lambda: not any(map(is_running, children)))


def test_process_that_ignores_sigterm_exits_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IGNORES_SIGTERM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        read_until(process.stdout, b"SIGTERM")
        assert process.wait(PATIENCE_S) == 1
