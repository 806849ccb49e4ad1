"""One followed file: its size changes, and the bytes to read. Synchronous."""

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastbg.clock import monotonic_ns, time_ns
from fastbg.data_folder import KINDS
from fastbg.errors import FollowError
from fastbg.events import Appended, Notice
from fastbg.follow.lines import BLOCK, last_lines

FileId = tuple[int, int]
NoticeKind = Literal["missing", "appeared", "truncated", "replaced", "skipped", "refused"]

KNOWN_TAIL = 64  # bytes before the read position that are compared at each read, to detect a rewritten file
MAX_SPANS = 1024  # size changes with their own time that are stored for a slow reader


def file_at(path: Path) -> FileId:
    """Return ``(st_dev, st_ino)`` of the regular file at ``path``, without opening it.

    Raises `FileNotFoundError`, and `FollowError` if it is not a regular file.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, "does not exist", path) from error
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error
    for is_kind, what in KINDS:
        if is_kind(status.st_mode):
            raise FollowError(
                f"this is {what}, only files can be followed", where=str(path), remedy="choose a regular file"
            )
    return status.st_dev, status.st_ino


def open_file(path: Path) -> int:
    """Open the regular file ``path`` for reading, and return its descriptor.

    Never waits. Opens only regular files: opening a device may have an effect, and a reader of a pipe takes bytes from
    other readers. Raises `FileNotFoundError` and `FollowError` like `file_at`.
    """
    file_at(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # replaced after `file_at`
        os.close(descriptor)
        raise FollowError("this is not a regular file", where=str(path), remedy="choose a regular file")
    return descriptor


def _refusal(path: Path, error: OSError | ValueError) -> FollowError:
    if isinstance(error, PermissionError):
        return FollowError("no permission to read this file", where=str(path), remedy="ask its owner for read access")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return FollowError(f"this file cannot be opened: {reason}", where=str(path), remedy="check the name")


@dataclass(slots=True)
class _Span:
    """At ``t_ns`` the size of the file was ``end``. ``written_ns``: its modification time, None if not plausible."""

    t_ns: int
    end: int
    written_ns: int | None


@dataclass(slots=True)
class _OpenFile:
    """``offset``: of the next byte to return. ``known_tail``: the bytes before it. ``end``: the last known size.

    ``restarted``: the file was truncated or rewritten, and may be again before its bytes are read.
    """

    descriptor: int
    file: FileId
    offset: int = 0
    end: int = 0
    known_tail: bytes = b""
    restarted: bool = False


def _is_rewritten(opened: _OpenFile) -> bool:
    """Return whether the last bytes of a completely read file have changed, although its size has not."""
    if opened.offset != opened.end:
        return False  # the next read compares them
    known = opened.known_tail
    try:
        return os.pread(opened.descriptor, len(known), opened.offset - len(known)) != known
    except OSError:
        return False  # the next read reports the error


def modified_ns(status: os.stat_result, seen_ns: int) -> int | None:
    """Return the modification time on the monotonic clock, None if it is later than ``seen_ns``.

    The kernel's clock for files is some milliseconds late. So the file was modified at this time or later.
    """
    modified_ns = status.st_mtime_ns - (time_ns() - monotonic_ns())
    return modified_ns if modified_ns <= seen_ns else None


class FollowedFile:
    """The file at ``path``, which may be replaced by another one.

    `refresh` and `measure` store changes with their time; `take` reads the bytes. So the bytes for a slow reader keep
    the time at which they were seen, and stay in the file, not in memory.

    A renamed or deleted file stays open until another file has its path. Its last bytes are still read, and no new file
    can have its inode number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: _OpenFile | None = None
        self._items: deque[_Span | Notice] = deque()
        self._outdated = False  # another file is at `path`; the open one is read to its end first
        self._problem: str | None = None  # why no file can be read at `path`
        self.needs_watch = False  # the open file or `old_descriptors` have changed; the caller sets it to False

    @property
    def pending(self) -> bool:
        """Whether `take` may return something."""
        return bool(self._items) or self._outdated

    @property
    def old_descriptors(self) -> list[int]:
        """The descriptors of files that are still read, although another file is at ``path``."""
        return []

    def last_lines(self, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield the last ``count`` lines before the next byte of `take`, as ``(offset, bytes)``."""
        return iter(()) if self._open is None else last_lines(self._open.descriptor, count, self._open.offset)

    def begin(self, t_ns: int, *, at_end: bool) -> None:
        """Open the file if it exists. ``at_end``: skip its present content."""
        self.refresh(t_ns)
        if self._open is None:
            return
        self._items.clear()  # a file that already exists does not "appear"
        if at_end:
            self._open.offset = self._open.end
            begin = max(0, self._open.end - KNOWN_TAIL)
            self._open.known_tail = os.pread(self._open.descriptor, self._open.end - begin, begin)
        elif self._open.end:
            self._items.append(_Span(monotonic_ns(), self._open.end, None))

    def refresh(self, t_ns: int) -> None:
        """Check which file is at ``path`` now, and its size. ``t_ns``: the time for notices."""
        self._outdated = False
        try:
            found = self._find()
            if self._open is not None and found == self._open.file:
                if self._problem:
                    self._add_notice(t_ns, "appeared", "exists again")
                self.measure(t_ns)
            else:
                self.measure(t_ns)
                if self._unread():
                    self._outdated = True
                    return
                self._change_file(t_ns)
            self._problem = None
        except FileNotFoundError:
            self._add_problem(t_ns, "missing", "does not exist")
        except FollowError as error:
            self._add_problem(t_ns, "refused", error.what)

    def measure(self, t_ns: int) -> None:
        """Check the size of the open file. ``t_ns``: the time for notices; a new size gets the time of this call."""
        if self._open is None:
            return
        status = os.fstat(self._open.descriptor)
        size = status.st_size
        seen_ns = monotonic_ns()  # after `fstat`: the bytes may not have existed before
        if size < self._open.end:
            self._restart(self._open, t_ns, "was truncated")
        elif size == self._open.end and _is_rewritten(self._open):
            self._restart(self._open, t_ns, "was rewritten")
        if size > self._open.end:
            last = self._items[-1] if self._items else None
            if isinstance(last, _Span) and len(self._items) >= MAX_SPANS:
                last.t_ns, last.end = seen_ns, size  # a time that is too late is better than one before the write
                last.written_ns = modified_ns(status, seen_ns)
            else:
                self._items.append(_Span(seen_ns, size, modified_ns(status, seen_ns)))
            self._open.end = size

    def take(self) -> Appended | Notice | None:
        """Return the next notice, or the next bytes: at most 64 KiB."""
        while self._items:
            item = self._items[0]
            if isinstance(item, Notice):
                self._items.popleft()
                return item
            if self._open is not None and (appended := self._read(self._open, item)):
                return appended
        if self._outdated:
            self.refresh(monotonic_ns())
            return self.take()
        return None

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open.descriptor)
            self._open = None
        self._items.clear()
        self._outdated = False

    def _find(self) -> FileId:
        return file_at(self.path)

    def _read(self, opened: _OpenFile, span: _Span) -> Appended | None:
        offset, known = opened.offset, opened.known_tail
        size = min(BLOCK, span.end - offset)
        try:
            found = os.pread(opened.descriptor, len(known) + size, offset - len(known))
        except OSError as error:
            self._drop_spans(opened)
            self._add_problem(span.t_ns, "refused", f"cannot be read: {error.strerror}")
            return None
        read_ns = monotonic_ns()
        if not found.startswith(known):
            self._restart(opened, span.t_ns, "was rewritten")
            self.measure(span.t_ns)
            return None
        data = found[len(known) :]
        opened.offset += len(data)
        opened.known_tail = found[-KNOWN_TAIL:]
        if len(data) < size:  # truncated after `measure`
            self._drop_spans(opened)
        elif opened.offset == span.end:
            self._items.popleft()
        written_ns = span.written_ns if opened.offset == span.end else None
        t_ns = read_ns if opened.restarted else span.t_ns
        return Appended(t_ns, self.path, opened.file, offset, data, written_ns, read_ns) if data else None

    def _change_file(self, t_ns: int) -> None:
        descriptor = open_file(self.path)
        if self._open is None:
            self._add_notice(t_ns, "appeared", "exists now")
        else:
            os.close(self._open.descriptor)
            self._add_notice(t_ns, "replaced", "was replaced by another file")
        self._use_descriptor(descriptor, t_ns)

    def _use_descriptor(self, descriptor: int, t_ns: int) -> None:
        status = os.fstat(descriptor)
        self._open = _OpenFile(descriptor, (status.st_dev, status.st_ino))
        self.measure(t_ns)

    def _restart(self, opened: _OpenFile, t_ns: int, why: str) -> None:
        opened.offset, opened.known_tail, opened.restarted = 0, b"", True
        self._drop_spans(opened)
        self._add_notice(t_ns, "truncated", f"{why}: reading from the start")

    def _unread(self) -> bool:
        return self._open is not None and self._open.offset < self._open.end

    def _drop_spans(self, opened: _OpenFile) -> None:
        self._items = deque(item for item in self._items if isinstance(item, Notice))
        opened.end = opened.offset

    def _add_problem(self, t_ns: int, kind: NoticeKind, message: str) -> None:
        self.measure(t_ns)
        if message != self._problem:
            self._problem = message
            self._add_notice(t_ns, kind, message)

    def _add_notice(self, t_ns: int, kind: NoticeKind, message: str) -> None:
        self._items.append(Notice(t_ns, self.path, kind, message))
