"""The file with the output of servers: its limit, and files that cannot be written."""

import errno
import os
from pathlib import Path

import pytest

from fastbg.server import log_file
from fastbg.server.log_file import ServerLog


def written(path: Path, *pieces: bytes) -> ServerLog:
    log = ServerLog(path)
    log.begin("shop:app")
    for piece in pieces:
        log.write(piece)
    log.close()
    return log


def test_output_is_kept_as_it_is_below_its_heading(tmp_path: Path) -> None:
    path = tmp_path / "new" / "server.log"
    assert written(path, b"a\x1b[31m", b"\xff\n").problem is None
    assert path.read_bytes() == b"--- fastbg: shop:app ---\na\x1b[31m\xff\n"


def test_servers_of_one_run_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    log = ServerLog(path)
    log.begin("one")
    log.write(b"first\n")
    log.begin("two\n")
    log.write(b"second\n")
    log.close()
    assert path.read_bytes() == b"--- fastbg: one ---\nfirst\n--- fastbg: two\\n ---\nsecond\n"


def test_log_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    written(path, b"old " * 100)
    written(path, b"new\n")
    assert path.read_bytes() == b"--- fastbg: shop:app ---\nnew\n"


def test_log_stops_at_its_limit_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 2**20)
    path = tmp_path / "server.log"
    assert written(path, *[b"x" * 1000] * 2000).problem is None
    content = path.read_bytes()
    assert content.endswith(b"x\n--- fastbg: 1 MiB are reached, later output is not kept ---\n")
    assert content.count(b"--- fastbg: ") == 2
    assert 2**20 < len(content) < 2**20 + 100


def test_file_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_bytes(b"precious\n")
    assert (
        written(path, b"x").problem == "the output of the server is not in server.log: the file is not a log of fastbg"
    )
    assert path.read_bytes() == b"precious\n"


def test_file_that_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    assert (written(tmp_path, b"x").problem or "").endswith(": Is a directory")


def test_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "server.log"
    log = ServerLog(path)
    log.begin("shop:app")
    monkeypatch.setattr(os, "write", fail)
    log.write(b"x")
    assert log.problem == "the output of the server is not in server.log: No space left on device"
    log.write(b"x")
    log.begin("shop:app")
    assert not log.is_open


def test_named_pipe_does_not_wait_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    os.mkfifo(path)
    assert written(path, b"x").problem is not None
