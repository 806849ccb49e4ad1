"""One followed file, step by step: its changes are stored by `refresh` and `measure`, and returned by `take`."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastbg.errors import FollowError
from fastbg.events import Appended, Notice
from fastbg.follow import files as module
from fastbg.follow.files import KNOWN_TAIL, FollowedFile, file_at, open_file
from fastbg.follow.lines import BLOCK
from tests.follow.test_follower import append


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def file(log: Path) -> Iterator[FollowedFile]:
    """Follow ``log``, which has 3 bytes, from its end."""
    log.write_bytes(b"old")
    followed = FollowedFile(log)
    followed.begin(0, at_end=True)
    yield followed
    followed.close()


def taken(file: FollowedFile) -> list[tuple[int, bytes] | str]:
    """Take everything: the offset and the bytes of each read, and the text of each notice."""
    found: list[tuple[int, bytes] | str] = []
    while item := file.take():
        found.append((item.offset, item.data) if isinstance(item, Appended) else f"{item.kind}: {item.message}")
    assert not file.pending
    return found


def test_new_bytes_are_pending_until_they_are_taken(log: Path, file: FollowedFile) -> None:
    assert not file.pending
    append(log, b"new")
    assert not file.pending
    file.measure(0)
    assert file.pending
    assert taken(file) == [(3, b"new")]
    file.measure(0)
    assert not file.pending


def test_present_content_is_taken_from_the_begin(log: Path) -> None:
    log.write_bytes(b"old")
    for at_end, found in ((False, [(0, b"old")]), (True, [])):
        file = FollowedFile(log)
        file.begin(0, at_end=at_end)
        assert taken(file) == found
        assert [*file.last_lines(1)] == [(0, b"old")]
        file.close()
    log.write_bytes(b"")
    file = FollowedFile(log)
    file.begin(0, at_end=False)
    assert not file.pending
    file.close()


def test_big_content_is_taken_in_blocks(log: Path, file: FollowedFile) -> None:
    data = b"x" * BLOCK + b"rest"
    append(log, data)
    file.measure(0)
    first = file.take()
    assert isinstance(first, Appended)
    assert (first.data, first.written_ns) == (data[:BLOCK], None)  # the time is the one of the last byte
    assert file.pending
    last = file.take()
    assert isinstance(last, Appended)
    assert (last.offset, last.data) == (3 + BLOCK, b"rest")
    assert last.written_ns is not None
    assert not file.pending


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> int:
    """Stop both clocks, and return the nanoseconds between them."""
    monkeypatch.setattr(module, "monotonic_ns", lambda: 5000)
    monkeypatch.setattr(module, "time_ns", lambda: 10**18 + 5000)
    return 10**18


@pytest.mark.parametrize(("modified_ns", "written_ns"), [(4000, 4000), (5000, 5000), (5001, None)])
def test_bytes_have_the_time_of_their_modification(
    log: Path, file: FollowedFile, clock: int, modified_ns: int, written_ns: int | None
) -> None:
    """A modification time after the moment at which the bytes were seen is wrong."""
    append(log, b"new")
    os.utime(log, ns=(0, clock + modified_ns))
    file.measure(0)
    item = file.take()
    assert isinstance(item, Appended)
    assert (item.t_ns, item.written_ns) == (5000, written_ns)


def test_file_truncated_before_it_is_read_gives_what_is_left(log: Path, file: FollowedFile) -> None:
    append(log, b"abcdef")
    file.measure(0)
    append(log, b"ghi")
    file.measure(0)
    os.truncate(log, 5)
    assert taken(file) == [(3, b"ab")]
    append(log, b"new")
    file.measure(0)
    assert taken(file) == [(5, b"new")]


def test_file_truncated_to_the_read_bytes_gives_nothing(log: Path, file: FollowedFile) -> None:
    append(log, b"abcdef")
    file.measure(0)
    os.truncate(log, 3)
    assert taken(file) == []
    file.measure(7)
    assert taken(file) == []
    append(log, b"new")
    file.measure(0)
    assert taken(file) == [(3, b"new")]


def test_file_that_grows_while_it_is_opened_is_not_rewritten(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Callable[[int, int, int], bytes] = os.pread

    def after_a_write(descriptor: int, size: int, offset: int) -> bytes:
        append(log, b"new")
        return read(descriptor, size, offset)

    log.write_bytes(b"x" * (KNOWN_TAIL + 100))
    file = FollowedFile(log)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", after_a_write)
        file.begin(0, at_end=True)
    file.measure(0)
    assert taken(file) == [(KNOWN_TAIL + 100, b"new")]
    file.close()


def test_file_rewritten_before_it_is_read_starts_again(log: Path, file: FollowedFile) -> None:
    append(log, b"abcdef")
    file.measure(0)
    log.write_bytes(b"another text")
    notice = file.take()
    assert isinstance(notice, Notice)
    assert (notice.kind, notice.path, notice.message) == ("truncated", log, "was rewritten: reading from the start")
    assert taken(file) == [(0, b"another text")]


def test_bytes_are_not_younger_than_their_time(log: Path, file: FollowedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 1000))
    monkeypatch.setattr(module, "monotonic_ns", lambda: next(clock))
    pread, reads = os.pread, []

    def read(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(next(clock))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", read)
    append(log, b"new")
    file.measure(0)
    appended = file.take()
    assert isinstance(appended, Appended)
    assert appended.t_ns < reads[-1] < appended.read_ns
    log.write_bytes(b"x")
    file.measure(0)
    assert isinstance(file.take(), Notice)
    rewritten = file.take()
    assert isinstance(rewritten, Appended)
    assert rewritten.t_ns == rewritten.read_ns > reads[-1]


def test_truncated_file_starts_again(log: Path, file: FollowedFile) -> None:
    append(log, b"abcdef")
    file.measure(0)
    os.truncate(log, 2)
    file.measure(7)
    notice = file.take()
    assert isinstance(notice, Notice)
    assert (notice.t_ns, notice.message) == (7, "was truncated: reading from the start")
    assert taken(file) == [(0, b"ol")]
    os.truncate(log, 0)
    file.measure(8)
    append(log, b"x")
    file.measure(9)
    assert taken(file) == ["truncated: was truncated: reading from the start", (0, b"x")]


def test_rewritten_file_of_the_same_size_starts_again(log: Path, file: FollowedFile) -> None:
    log.write_bytes(b"new")
    file.measure(7)
    assert taken(file) == ["truncated: was rewritten: reading from the start", (0, b"new")]
    append(log, b"!")
    file.measure(0)
    assert taken(file) == [(3, b"!")]
    log.write_bytes(b"new?")
    file.measure(0)
    assert taken(file) == ["truncated: was rewritten: reading from the start", (0, b"new?")]


@pytest.mark.parametrize(("at", "is_noticed"), [(1, False), (2, True)])
@pytest.mark.parametrize("appended", [0, 1, KNOWN_TAIL])
def test_only_the_last_bytes_are_compared(log: Path, at: int, is_noticed: bool, appended: int) -> None:
    """The last `KNOWN_TAIL` bytes that were read show whether the file was rewritten."""
    log.write_bytes(b"x" * (KNOWN_TAIL + 2))
    file = FollowedFile(log)
    file.begin(0, at_end=True)
    append(log, b"y" * appended)
    file.measure(0)
    taken(file)
    with log.open("r+b") as changed:
        changed.seek(at + appended)
        changed.write(b"!")
    file.measure(0)
    assert [item for item in taken(file) if isinstance(item, str)] == [
        "truncated: was rewritten: reading from the start"
    ] * is_noticed
    file.close()


def test_merged_changes_have_the_time_of_the_last_one(
    log: Path, file: FollowedFile, clock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SPANS", 2)
    for number, data in enumerate((b"a", b"b", b"c")):
        append(log, data)
        os.utime(log, ns=(0, clock + number))
        monkeypatch.setattr(module, "monotonic_ns", lambda number=number: 5000 + number)
        monkeypatch.setattr(module, "time_ns", lambda number=number: 10**18 + 5000 + number)
        file.measure(0)
    first, second = file.take(), file.take()
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert (first.data, first.t_ns, first.written_ns) == (b"a", 5000, 0)
    assert (second.data, second.t_ns, second.written_ns) == (b"bc", 5002, 2)
    assert not file.pending


def test_replaced_file_is_read_to_its_end_first(log: Path, file: FollowedFile) -> None:
    append(log, b"late")
    log.rename(log.with_suffix(".1"))
    log.write_bytes(b"next")
    file.refresh(7)
    assert file.pending
    assert taken(file) == [(3, b"late"), "replaced: was replaced by another file", (0, b"next")]
    append(log.with_suffix(".1"), b"later")  # the old file is closed
    file.refresh(7)
    assert taken(file) == []


def test_replaced_file_that_was_read_is_closed_at_once(log: Path, file: FollowedFile) -> None:
    log.rename(log.with_suffix(".1"))
    log.write_bytes(b"next")
    file.refresh(7)
    replaced = file.take()
    assert isinstance(replaced, Notice)
    assert (replaced.t_ns, replaced.kind) == (7, "replaced")
    assert taken(file) == [(0, b"next")]


def test_missing_file_is_told_once_and_then_again(log: Path, file: FollowedFile) -> None:
    moved = log.with_suffix(".1")
    log.rename(moved)
    append(moved, b"late")
    file.refresh(7)
    file.refresh(8)
    assert taken(file) == [(3, b"late"), "missing: does not exist"]
    moved.rename(log)
    file.refresh(9)
    file.refresh(10)
    assert taken(file) == ["appeared: exists again"]
    log.unlink()
    log.mkdir()
    file.refresh(11)
    assert taken(file) == ["refused: this is a folder, only files can be followed"]


def test_file_that_appears_is_read_from_its_start(log: Path) -> None:
    file = FollowedFile(log)
    file.begin(5, at_end=True)
    assert [*file.last_lines(1)] == []
    missing = file.take()
    assert isinstance(missing, Notice)
    assert (missing.t_ns, missing.kind) == (5, "missing")
    file.measure(6)
    log.write_bytes(b"new")
    file.refresh(6)
    assert taken(file) == ["appeared: exists now", (0, b"new")]
    log.unlink()
    file.refresh(7)
    assert taken(file) == ["missing: does not exist"]
    file.close()


def test_unreadable_bytes_are_refused_until_the_next_change(
    log: Path, file: FollowedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    append(log, b"new")
    file.measure(0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", broken)
        file.measure(0)  # whether the file was rewritten is not known
        item = file.take()
        assert isinstance(item, Notice)
        assert (item.kind, item.message) == ("refused", "cannot be read: Input/output error")
    assert taken(file) == [(3, b"new")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", broken)
        file.measure(0)
    assert taken(file) == []


def test_closed_file_has_nothing_to_take(log: Path, file: FollowedFile) -> None:
    append(log, b"new")
    file.measure(0)
    file.close()
    assert not file.pending
    assert file.take() is None
    assert file.old_descriptors == []
    file.close()


def test_file_is_identified_by_its_device_and_inode(log: Path) -> None:
    log.touch()
    status = log.stat()
    assert file_at(log) == (status.st_dev, status.st_ino)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        file_at(log / "below a file")


def test_socket_and_pipe_are_not_opened(log: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(log))
    os.mkfifo(log.with_suffix(".pipe"))
    for path, what in ((log, "a socket"), (log.with_suffix(".pipe"), "a named pipe")):
        with pytest.raises(FollowError) as caught:
            open_file(path)
        assert (caught.value.what, caught.value.remedy) == (
            f"this is {what}, only files can be followed",
            "choose a regular file",
        )


def test_file_that_is_replaced_while_it_is_opened_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    monkeypatch.setattr(module, "file_at", lambda path: None)
    log.mkdir()
    with pytest.raises(FollowError, match="not a regular file") as caught:
        open_file(log)
    assert (caught.value.where, caught.value.remedy) == (str(log), "choose a regular file")
    with pytest.raises(FileNotFoundError):
        open_file(log / "none")
    log.with_suffix(".loop").symlink_to(log.with_suffix(".loop"))
    with pytest.raises(FollowError, match="Too many levels") as caught:
        open_file(log.with_suffix(".loop"))
    assert caught.value.remedy == "check the name"
    assert len([*Path("/proc/self/fd").iterdir()]) == before
