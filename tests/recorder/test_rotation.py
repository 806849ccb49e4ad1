"""Rotation: no event is lost with several writers, or when a writer is killed."""

import fcntl
import functools
import logging
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fastbg.recorder import journal as module
from fastbg.recorder import rotation
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.rotation import KEPT, is_sealed, numbers, open_to_write, part, rotate
from tests.follow.test_follower import held
from tests.support.journals import received

SIZE = 2000  # bytes, about 14 lines


@pytest.fixture(autouse=True)
def _check_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_NS", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(journal: Journal, events: range) -> None:
    for number in events:
        journal.check()
        journal.write(received(str(number)))


def numbers_in(file: Path) -> list[int]:
    """Return the numbers of the events in a part. An invalid line fails the test."""
    events = [read_journal_line(line) for line in file.read_bytes().splitlines()]
    return [int(event.request_id or "") for event in events if event is not None or pytest.fail("torn")]


def all_numbers(path: Path) -> list[int]:
    files = [*(part(path, number) for number in numbers(path)), *([path] if path.exists() else [])]
    return [number for file in files for number in numbers_in(file)]


def test_full_journal_is_rotated_and_oldest_parts_deleted(path: Path) -> None:
    journal = Journal(path, SIZE)
    write(journal, range(1000))
    first, *_, last = kept = numbers(path)
    assert kept == list(range(first, first + KEPT))
    assert first > 1
    for number in kept:
        assert SIZE <= part(path, number).stat().st_size < SIZE + 200
    known = all_numbers(path)
    assert known == list(range(known[0], 1000))
    assert numbers_in(part(path, last))[-1] + 1 == numbers_in(path)[0]
    assert journal.lost == 0


def test_journal_without_a_size_is_one_file(path: Path) -> None:
    write(Journal(path), range(100))
    assert numbers(path) == []
    assert numbers_in(path) == list(range(100))


def test_only_parts_of_this_journal_are_parts(path: Path) -> None:
    for name in ("journal.jsonl.bak", "journal.jsonl.01", "journal.jsonl.2.gz", "journal.jsonl2", "log.txt.3"):
        (path.parent / name).touch()
    part(path, 10).touch()
    part(path, 9).touch()
    assert numbers(path) == [9, 10]
    assert numbers(path.parent / "nowhere" / path.name) == []


def test_no_event_of_several_processes_is_lost_or_torn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process writes until there are enough parts: the number of rotations depends on the scheduler."""
    monkeypatch.setattr(rotation, "KEPT", 10**6)
    each, apart = 400, 10**6

    def write_own(number: int) -> None:
        journal = Journal(path, SIZE)
        write(journal, range(number * apart, number * apart + each))
        for event in count(number * apart + each):
            if len(numbers(path)) > 20:
                path.with_name(f"end of {number}").write_text(str(event))
                return
            write(journal, range(event, event + 1))

    writers = [_forked(functools.partial(write_own, number)) for number in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [0, 0, 0]
    known = all_numbers(path)
    for number in range(3):  # in the order of each process
        end = int(path.with_name(f"end of {number}").read_text())
        assert [event for event in known if event // apart == number] == list(range(number * apart, end))
    assert max(known) < 3 * apart


def _forked(act: Callable[[], object]) -> int:
    """Fork a process that calls ``act`` and exits, with 0 if it did not raise."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return pid


def _then_die(act: Callable[..., object]) -> Callable[..., None]:
    def last(*arguments: Any, **options: Any) -> None:
        act(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return last


STEPS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "numbered": (Path, "rename", lambda *_: None),
    "renamed": (Path, "rename", Path.rename),
    "deleted": (Path, "unlink", Path.unlink),
    "opened": (os, "dup2", lambda *_, **__: None),
    "replaced": (os, "dup2", os.dup2),
}


@pytest.mark.parametrize("step", STEPS)
def test_writer_killed_during_a_rotation_loses_no_event(path: Path, step: str) -> None:
    write(Journal(path, SIZE), range(200))
    before = numbers(path)

    def rotate_and_die() -> None:
        owner, name, act = STEPS[step]
        setattr(owner, name, _then_die(act))  # only in this process
        write(Journal(path, SIZE), range(200, 300))

    pid = _forked(rotate_and_die)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    known = all_numbers(path)
    assert 200 < known[-1] < 299
    assert known == list(range(known[0], known[-1] + 1))
    write(Journal(path, SIZE), range(known[-1] + 1, 1000))
    known = all_numbers(path)
    assert known == list(range(known[0], 1000))
    assert len(numbers(path)) == KEPT
    assert numbers(path)[0] > before[-1]


def test_late_writer_keeps_the_old_part_open(path: Path) -> None:
    one, other = Journal(path, SIZE), Journal(path, SIZE)
    other.check()
    write(one, range(40))
    other.write(received("-1"))
    old = os.open(part(path, 1), os.O_RDONLY)
    assert numbers_in(part(path, 1))[-2:] == [numbers_in(part(path, 2))[0] - 1, -1]
    assert not is_sealed(old)
    other.check()
    assert is_sealed(old)
    os.close(old)
    other.write(received("-2"))
    assert numbers_in(path)[-1] == -2


def test_lock_ends_with_its_process(path: Path) -> None:
    ours, theirs = os.pipe()

    def hold() -> None:
        journal = Journal(path)
        journal.check()
        os.write(theirs, b"x")
        signal.pause()

    pid = _forked(hold)
    os.read(ours, 1)
    path.rename(part(path, 1))
    descriptor = os.open(part(path, 1), os.O_RDONLY)
    assert not is_sealed(descriptor)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert is_sealed(descriptor)
    for each in (ours, theirs, descriptor):
        os.close(each)


def test_journal_rotated_before_the_lock_is_reopened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def rotated_first(descriptor: int, how: int) -> None:
        if not numbers(path):
            path.rename(part(path, 1))
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", rotated_first)
    descriptor = open_to_write(path)
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    os.close(descriptor)


def test_writers_do_not_wait_for_another_rotation(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    journal = Journal(path, SIZE)
    write(journal, range(100))
    assert numbers(path) == []
    os.close(folder)
    write(journal, range(100, 101))
    assert numbers(path) == [1]
    assert all_numbers(path) == list(range(101))


def test_journal_is_not_rotated_twice(path: Path) -> None:
    write(Journal(path), range(3))
    rotate(path, SIZE)
    assert numbers(path) == []


def test_forbidden_rotation_is_logged_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "rename", refuse)
    journal = Journal(path, SIZE)
    with caplog.at_level(logging.WARNING, "fastbg"):
        write(journal, range(100))
    assert numbers_in(path) == list(range(100))
    (message,) = [record.getMessage() for record in caplog.records]
    assert str(path) in message
    assert "Operation not permitted; it grows without limit" in message


def test_rotation_closes_its_descriptors(path: Path) -> None:
    journal = Journal(path, SIZE)
    write(journal, range(20))
    before = held(path.parent)
    write(journal, range(500))
    assert held(path.parent) == before


def test_named_pipe_is_no_journal_and_does_not_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.jsonl"
    os.mkfifo(path)
    journal = Journal(path)
    journal.check()
    journal.write(received("r1"))
    assert journal.lost == 1
    assert "this is a named pipe, not a regular file" in caplog.text
