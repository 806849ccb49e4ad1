"""Whether a process that wrote a journal has ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastbg.follow.writers import Writers

PROGRAM = "import sys; journal = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system has no /proc")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    path.touch()
    return path


@pytest.fixture
def server(journal: Path) -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, journal], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def test_killed_server_has_ended(journal: Path, server: "subprocess.Popen[bytes]") -> None:
    writers = Writers([journal])
    writers.add(server.pid)
    assert writers.ended([server.pid]) == []
    server.kill()
    server.wait()
    assert writers.ended([server.pid]) == [server.pid]


def test_id_of_another_namespace_proves_nothing(journal: Path, server: "subprocess.Popen[bytes]") -> None:
    writers = Writers([journal])
    writers.add(os.getpid())  # it exists, but does not have the journal open
    server.kill()
    server.wait()
    assert writers.ended([server.pid]) == []


def test_odd_ids_are_no_crash(journal: Path, server: "subprocess.Popen[bytes]") -> None:
    writers = Writers([journal])
    for pid in (server.pid, 0, -1, 10**30):
        writers.add(pid)
    assert writers.ended([10**30, server.pid]) == []
