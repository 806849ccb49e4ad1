"""One followed file: what was read of it, what it is now, what is still to be read. Synchronous."""

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastbg.errors import FollowError
from fastbg.events import Appended, Notice
from fastbg.follow.lines import BLOCK, last_lines

FileId = tuple[int, int]
NoticeKind = Literal["missing", "appeared", "truncated", "replaced", "skipped", "refused"]

KNOWN_TAIL = 64  # bytes before the read position that are compared at each read, to notice a rewritten file
MAX_SPANS = 1024  # sightings that are kept apart while nobody reads

_KINDS = (
    (stat.S_ISDIR, "this is a folder"),
    (stat.S_ISFIFO, "this is a named pipe"),
    (stat.S_ISSOCK, "this is a socket"),
    (stat.S_ISCHR, "this is a device"),
    (stat.S_ISBLK, "this is a device"),
)


def file_at(path: Path) -> FileId:
    """``(st_dev, st_ino)`` of the regular file that ``path`` leads to; nothing is opened.

    Raises `FileNotFoundError` where there is nothing, `FollowError` where there is something else.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, "nothing there", path) from error
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error
    for is_kind, what in _KINDS:
        if is_kind(status.st_mode):
            raise FollowError(f"{what}, only files can be followed", where=str(path), remedy="name a regular file")
    return status.st_dev, status.st_ino


def open_file(path: Path) -> int:
    """A descriptor that reads the regular file ``path``.

    Never waits, and never opens what is no file: a device may act on being opened, a pipe takes its writer's
    bytes. Raises `FileNotFoundError` and `FollowError` like `file_at`.
    """
    file_at(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # replaced since we looked
        os.close(descriptor)
        raise FollowError("this is no regular file", where=str(path), remedy="name a regular file")
    return descriptor


def _refusal(path: Path, error: OSError | ValueError) -> FollowError:
    if isinstance(error, PermissionError):
        return FollowError("no permission to read this file", where=str(path), remedy="ask its owner for read access")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return FollowError(f"this file cannot be opened: {reason}", where=str(path), remedy="check the name")


@dataclass(slots=True)
class _Span:
    """The file was seen at ``t_ns`` to reach as far as ``end``."""

    t_ns: int
    end: int


@dataclass(slots=True)
class _OpenFile:
    """``offset``: of the next byte to give out, ``known_tail``: the bytes before it. ``end``: seen so far."""

    descriptor: int
    file: FileId
    offset: int = 0
    end: int = 0
    known_tail: bytes = b""


def _is_rewritten(opened: _OpenFile) -> bool:
    """Whether other bytes stand where all was given out already: whoever wrote them kept the size."""
    if opened.offset != opened.end:
        return False  # what is still to be read is compared then
    known = opened.known_tail
    try:
        return os.pread(opened.descriptor, len(known), opened.offset - len(known)) != known
    except OSError:
        return False  # told when there is something to read


class FollowedFile:
    """What ``path`` leads to, over time: one file, then perhaps another.

    `look` and `measure` note what there is, with the time it was seen; `take` reads it. So bytes that wait
    for a slow reader keep the time at which they were seen, and wait in the file, not in memory.

    A file that was renamed or deleted stays open until another one has its place: its last bytes are still
    wanted, and its inode number cannot come back as another file's meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: _OpenFile | None = None
        self._items: deque[_Span | Notice] = deque()
        self._outdated = False  # `path` leads to another file; this one is to be finished first
        self._trouble: str | None = None  # why `path` leads to no file
        self.unwatched = False  # what it reads, or `old`, has changed since somebody set this to false

    @property
    def pending(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._items) or self._outdated

    @property
    def old(self) -> list[int]:
        """Descriptors of files that are still read although ``path`` leads to another one."""
        return []

    def last_lines(self, count: int) -> Iterator[tuple[int, bytes]]:
        """The last ``count`` lines before what `take` reads next, as ``(offset, bytes)``; nothing without a file."""
        return iter(()) if self._open is None else last_lines(self._open.descriptor, count, self._open.offset)

    def begin(self, t_ns: int, *, at_end: bool) -> None:
        """Look for the first time. ``at_end``: what the file holds already is not wanted."""
        self.look(t_ns)
        if self._open is None:
            return
        self._items.clear()  # a file that was there from the start has not "appeared"
        if at_end:
            self._open.offset = self._open.end
            begin = max(0, self._open.end - KNOWN_TAIL)
            self._open.known_tail = os.pread(self._open.descriptor, self._open.end - begin, begin)
        elif self._open.end:
            self._items.append(_Span(time.monotonic_ns(), self._open.end))

    def look(self, t_ns: int) -> None:
        """Note what ``path`` leads to now, and how far that file reaches."""
        self._outdated = False
        try:
            found = self._find()
            if self._open is not None and found == self._open.file:
                if self._trouble:
                    self._note(t_ns, "appeared", "is there again")
                self.measure(t_ns)
            else:
                self.measure(t_ns)
                if self._unread():
                    self._outdated = True
                    return
                self._change_file(t_ns)
            self._trouble = None
        except FileNotFoundError:
            self._note_trouble(t_ns, "missing", "is not there")
        except FollowError as error:
            self._note_trouble(t_ns, "refused", error.what)

    def measure(self, t_ns: int) -> None:
        """Note how far the open file, if there is one, reaches now; ``t_ns`` is for what else there is to tell."""
        if self._open is None:
            return
        size = os.fstat(self._open.descriptor).st_size
        seen_ns = time.monotonic_ns()  # before that look it may not have been there yet
        if size < self._open.end:
            self._begin_again(self._open, t_ns, "was truncated")
        elif size == self._open.end and _is_rewritten(self._open):
            self._begin_again(self._open, t_ns, "was rewritten")
        if size > self._open.end:
            last = self._items[-1] if self._items else None
            if isinstance(last, _Span) and len(self._items) >= MAX_SPANS:
                last.t_ns, last.end = seen_ns, size  # rather seen too late than before it was there
            else:
                self._items.append(_Span(seen_ns, size))
            self._open.end = size

    def take(self) -> Appended | Notice | None:
        """The next thing to tell, at most 64 KiB of it."""
        while self._items:
            item = self._items[0]
            if isinstance(item, Notice):
                self._items.popleft()
                return item
            if self._open is not None and (appended := self._read(self._open, item)):
                return appended
        if self._outdated:
            self.look(time.monotonic_ns())
            return self.take()
        return None

    def close(self) -> None:
        """Release the descriptor; there is nothing more to take."""
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
            self._forget_spans(opened)
            self._note_trouble(span.t_ns, "refused", f"cannot be read: {error.strerror}")
            return None
        if not found.startswith(known):
            self._begin_again(opened, span.t_ns, "was rewritten")
            self.measure(span.t_ns)
            return None
        data = found[len(known) :]
        opened.offset += len(data)
        opened.known_tail = found[-KNOWN_TAIL:]
        if len(data) < size:  # truncated since it was seen
            self._forget_spans(opened)
        elif opened.offset == span.end:
            self._items.popleft()
        return Appended(span.t_ns, self.path, opened.file, offset, data) if data else None

    def _change_file(self, t_ns: int) -> None:
        descriptor = open_file(self.path)
        if self._open is None:
            self._note(t_ns, "appeared", "is there now")
        else:
            os.close(self._open.descriptor)
            self._note(t_ns, "replaced", "is another file now")
        self._begin_with(descriptor, t_ns)

    def _begin_with(self, descriptor: int, t_ns: int) -> None:
        status = os.fstat(descriptor)
        self._open = _OpenFile(descriptor, (status.st_dev, status.st_ino))
        self.measure(t_ns)

    def _begin_again(self, opened: _OpenFile, t_ns: int, why: str) -> None:
        opened.offset, opened.known_tail = 0, b""
        self._forget_spans(opened)
        self._note(t_ns, "truncated", f"{why}: from its start again")

    def _unread(self) -> bool:
        return self._open is not None and self._open.offset < self._open.end

    def _forget_spans(self, opened: _OpenFile) -> None:
        self._items = deque(item for item in self._items if isinstance(item, Notice))
        opened.end = opened.offset

    def _note_trouble(self, t_ns: int, kind: NoticeKind, message: str) -> None:
        self.measure(t_ns)
        if message != self._trouble:
            self._trouble = message
            self._note(t_ns, kind, message)

    def _note(self, t_ns: int, kind: NoticeKind, message: str) -> None:
        self._items.append(Notice(t_ns, self.path, kind, message))
