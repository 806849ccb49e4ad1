"""The lines that the journal writes, also after its file or its disk has failed."""

import ctypes
import errno
import json
import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastbg.recorder import journal as module
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import request_text, task_started, task_text
from fastbg.recorder.journal_lines import read_journal_line
from tests.support.journals import read, received
from tests.support.processes import PATIENCE_S, environment, fastbg
from tests.support.servers import ROOT

LINES = 500


@pytest.fixture(autouse=True)
def _check_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_NS", 0)


def test_a_written_line_can_be_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    journal.write(task_started(request_text("id"), task_text("work", 0), t_ns=5))
    event = read_journal_line(journal.path.read_bytes())
    assert event is not None
    assert (event.t_ns, event.name, event.request_id, event.detail["n"]) == (5, "task_started", "id", 0)
    assert event.detail["pid"] == os.getpid()


def _write_many(path: Path) -> None:
    journal = Journal(path)
    journal.check()
    for _ in range(LINES):
        journal.write(received("id", "x" * 500))


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = path.read_bytes().splitlines()
    assert len(lines) == len(writers) * LINES
    assert {json.loads(line)["pid"] for line in lines} == {writer.pid for writer in writers}


def test_a_forked_child_writes_under_its_own_process_id(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    child = os.fork()
    if child == 0:
        journal.write(received("id"))
        os._exit(0)
    os.waitpid(child, 0)
    journal.write(received("id"))
    assert [json.loads(line)["pid"] for line in journal.path.read_bytes().splitlines()] == [child, os.getpid()]


def test_a_deleted_journal_is_created_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    journal.path.unlink()
    journal.check()
    journal.write(received("id"))
    assert journal.path.read_bytes().count(b"\n") == 1


def test_a_full_disk_is_logged_once_without_an_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    monkeypatch.setattr(module, "_write", write)
    with caplog.at_level(logging.WARNING, "fastbg"):
        journal.write(received("id"))
        journal.write(received("id"))
    assert journal.lost == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert str(journal.path) in message
    assert "No space left on device" in message


def test_a_removed_folder_is_logged_once_without_an_exception(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data"
    journal = Journal(folder / "journal.jsonl")
    with caplog.at_level(logging.WARNING, "fastbg"):
        journal.check()
        journal.write(received("id"))
    assert journal.lost
    assert len(caplog.records) == 1
    folder.mkdir()
    journal.check()
    journal.write(received("id"))
    assert names_and_counts(journal) == [("events_lost", 1), ("request_received", None)]


def test_lines_for_a_deleted_journal_are_counted_as_lost(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl")
    journal.check()
    journal.path.unlink()
    folder.rmdir()
    journal.check()
    for _ in range(3):
        journal.write(received("id"))
    folder.mkdir()
    journal.check()
    journal.write(received("id"))
    assert names_and_counts(journal) == [("events_lost", 3), ("request_received", None)]


def test_full_disk_leaves_a_recorded_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    whole = module._write
    for lost in (2, 1):
        monkeypatch.setattr(module, "_write", lambda fd, line, length: -1)
        for _ in range(lost):
            journal.write(received("id"))
        monkeypatch.setattr(module, "_write", whole)
        for _ in range(2):
            journal.write(received("id"))
    gap = [("request_received", None)] * 2
    assert names_and_counts(journal) == [("events_lost", 2), *gap, ("events_lost", 1), *gap]
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records if "again" in record.getMessage()] == [
        "2",
        "1",
    ]
    assert len(caplog.records) == 4


LIMITED = """
import os, pathlib, resource, sys
from fastbg.recorder.journal import Journal
from tests.support.journals import received
journal = Journal(pathlib.Path(sys.argv[1]))
journal.check()
journal.write(received("1"))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, hard))
journal.write(received("2"))
assert len([*journal.path.parent.glob("*.lost.*")]) == 1
if sys.argv[2] == "space again":
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


@pytest.mark.parametrize(("then", "processes"), [("space again", 0), ("full", 1)])
def test_process_that_ends_with_lost_events_leaves_a_sign(tmp_path: Path, then: str, processes: int) -> None:
    path = tmp_path / "journal.jsonl"
    subprocess.run([sys.executable, "-c", LIMITED, path, then], cwd=ROOT, env=environment(), check=True)
    assert len([*tmp_path.glob("*.lost.*")]) == processes
    report = json.loads(fastbg("report", path, "--json").stdout)
    assert (report["cut_processes"], report["lost_events"]) == (processes, 1 - processes)
    (request,) = report["requests"]
    assert "could not write its journal" in request["reason"]
    said = "1 process could not write the last events" in fastbg("report", path).stdout.decode().replace("\n", " ")
    assert said == bool(processes)


def names_and_counts(journal: Journal) -> list[tuple[str, int | None]]:
    """Return the name of each event in the file, and its count if it has one."""
    found = [json.loads(line) for line in journal.path.read_bytes().splitlines()]
    return [(event["event"], event.get("count")) for event in found]


def test_a_torn_line_does_not_damage_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    whole = module._write
    monkeypatch.setattr(module, "_write", lambda fd, line, length: whole(fd, line, length // 2))
    journal.write(received("id"))
    monkeypatch.setattr(module, "_write", whole)
    journal.write(received("id"))
    torn, *lines = journal.path.read_bytes().splitlines()
    assert read_journal_line(torn) is None
    events = [read_journal_line(line) for line in lines]
    assert [event.name for event in events if event] == ["events_lost", "request_received"]


def refresh_and_write(journal: Journal, line: bytes) -> None:
    journal.refresh()
    journal.write(line)


@pytest.mark.parametrize("then", [Journal.write, refresh_and_write])
def test_descriptor_that_the_app_has_closed_is_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, then: Callable[[Journal, bytes], object]
) -> None:
    """The next file of the app gets its number. The journal is rotated by another process at the same time."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.open()
    journal.write(received("1"))
    os.close(journal._fd)
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() == journal._fd
        path.rename(tmp_path / "journal.jsonl.1")
        then(journal, received("2"))
        other.write(b"own")
    assert (tmp_path / "other").read_bytes() == b"own"
    assert [event["request"] for event in read(path)] == ["2"]
    assert caplog.text.count("the app has closed fastbg's journal") == 1


def test_connection_with_the_number_of_the_journal_gets_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.open()
    os.close(journal._fd)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert journal._fd in (ours.fileno(), theirs.fileno())
        journal.write(received("1"))
        for each in (ours, theirs):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1)
    assert len(read(tmp_path / "journal.jsonl")) == 1


def test_line_written_while_the_journal_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread sees the descriptor with the new file, before the journal knows this file."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.check()
    looked, dup2, is_foreign = threading.Event(), os.dup2, Journal._is_foreign
    writer = threading.Thread(target=journal.write, args=[received("1")])

    def look(self: Journal) -> bool:
        found = is_foreign(self)
        if threading.current_thread() is writer:
            looked.set()
        return found

    def opened(descriptor: int, number: int, inheritable: bool = True) -> None:
        dup2(descriptor, number, inheritable)
        writer.start()
        assert looked.wait(PATIENCE_S)

    (tmp_path / "journal.jsonl").rename(tmp_path / "old.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_is_foreign", look)
        patch.setattr(os, "dup2", opened)
        journal.refresh()
        writer.join()
    assert [event["request"] for event in read(journal.path)] == ["1"]
    assert caplog.text == ""
