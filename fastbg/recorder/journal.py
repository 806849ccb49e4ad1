"""The journal: the events of a server, one JSON object per line. Several processes and threads may append to it.

`fastbg.recorder.journal_events` makes the lines, `fastbg.recorder.journal_lines` reads them.
"""

import atexit
import ctypes
import logging
import os
import weakref
from asyncio import _get_running_loop
from contextlib import suppress
from pathlib import Path
from threading import RLock

from fastbg.clock import monotonic_ns
from fastbg.recorder.journal_events import Line, events_lost
from fastbg.recorder.rotation import loss_sign, open_to_write, rotate
from fastbg.text import escape_control

logger = logging.getLogger("fastbg")

CHECK_NS = 1_000_000_000  # the minimum time between two calls of `refresh` by `check`


# `os.write` releases the interpreter lock, and the threads that run tasks take it each time. Under load this costs a
# server more than the rest of the recorder. This function keeps the lock: the kernel needs a microsecond per line.
# It has no `argtypes`: with them a call takes 1.2 us instead of 0.9. All its arguments fit into a C int or a pointer.
_write = ctypes.PyDLL(None, use_errno=True).write

_NO_LOOP = object()
_writing = RLock()  # a signal handler may write, too


class Journal:
    """Appends lines to ``path``. The first `check` opens it; later ones open it again if it was rotated or deleted.

    ``size``: bytes at which `check` rotates it (`rotation`), 0 never rotates. Lines are written whole to a descriptor
    in append mode, so that lines of several processes are never mixed.

    When `write` returns, the kernel has the line. A line of `write_later` waits for the next `write`, at most until the
    current turn of the event loop ends. The order of all lines is kept.

    A full disk must not fail a request. Lines that cannot be written are counted in ``lost``, and logged once. When
    writing works again, the event ``events_lost`` records their number. Until then, an empty file is the
    `rotation.loss_sign` of it.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.lost = 0
        self._size = size
        self._fd = -1
        self._file: tuple[int, int] | None = None  # inode and device, as a status has them
        self._checked_ns = 0
        self._torn = False  # the last line is incomplete
        self._is_missing = False  # the file was deleted or moved, and cannot be created again
        self._warned = False
        self._later: list[Line] = []
        self._loop: object = _NO_LOOP  # the event loop that calls `flush` after its current turn
        _journals.add(self)

    def open(self) -> None:
        """Open the file, and create it if it does not exist. Raises `OSError`."""
        with _writing:
            self._leave_foreign()
            fd = open_to_write(self.path)
            status = os.fstat(fd)
            if self._fd < 0:
                self._fd = fd
            else:  # another thread may write now: the descriptor keeps its number
                os.dup2(fd, self._fd, inheritable=False)
                os.close(fd)
            self._file = status.st_ino, status.st_dev
            self._torn = self._is_missing = False

    def check(self) -> int:
        """Call `refresh`, at most once per second. Return the time at which this was called."""
        t_ns = monotonic_ns()
        if t_ns - self._checked_ns >= CHECK_NS or self._file is None:
            self.refresh()
        return t_ns

    def refresh(self) -> None:
        """Rotate the file if it is full, and open it again if this or another process has rotated or deleted it.

        Call it before an event that follows from an event of another process: no event is then in an older part than
        its cause.
        """
        self._checked_ns = monotonic_ns()
        try:
            status = self.path.stat()
            if (status.st_ino, status.st_dev) == self._file:
                self._is_missing = False
                if not self._size or status.st_size < self._size:
                    return
                self._rotate()
        except OSError:
            pass
        try:
            self.open()
        except OSError as error:
            self._is_missing = True
            self._warn(str(error.strerror))

    def _rotate(self) -> None:
        try:
            rotate(self.path, self._size)
        except FileNotFoundError:
            pass  # deleted or moved
        except OSError as error:
            self._size = 0
            logger.warning("fastbg cannot rotate its journal %s: %s; it grows without limit", self.path, error.strerror)

    def write(self, line: Line) -> None:
        """Append one event, and before it those of `write_later`. Never raises."""
        if self._later or self.lost or self._is_missing:
            self.flush(line)
        elif (written := self._put(line)) != len(line):
            self._count_unwritten(line, written)

    def write_later(self, line: Line) -> None:
        """Append one event after the current turn of the event loop, or before the next `write`. Never raises."""
        self._later.append(line)
        if _get_running_loop() is not self._loop:
            self._flush_soon()

    def flush(self, line: Line = b"") -> None:
        """Append the lines of `write_later`, then ``line``. May be called in any thread, and in a signal handler."""
        with _writing:
            later = self._later
            if count := len(later):
                self._append(b"".join(later[:count]) + line)
                del later[:count]  # now, so that another thread does not write before them
            elif line:
                self._append(line)

    def end(self) -> None:
        """Call `flush`, and try a last time to record how many events were lost."""
        self.flush()
        with _writing:
            if self.lost and not self._is_missing:
                self._write_events_lost()

    def _flush_soon(self) -> None:
        loop = _get_running_loop()
        if loop is None:  # a thread for tasks, or trio
            self.flush()
        else:
            self._loop = loop
            loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._loop = _NO_LOOP
        self.flush()

    def _append(self, lines: bytes) -> None:
        if self.lost and not self._is_missing and not self._write_events_lost():
            self.lost += lines.count(b"\n")
            return
        written = self._put(lines)
        if written != len(lines):
            self._count_unwritten(lines, written)
        elif self._is_missing:  # only followers that have the old file open still read it
            self._count_lost(lines.count(b"\n"), "the file was deleted or moved")

    def _put(self, lines: bytes) -> int:
        """Give ``lines`` to the kernel, and return the number of bytes that it has accepted, -1 after an error."""
        if self._is_foreign():
            with _writing:  # another thread may open it in this moment
                if self._leave_foreign():
                    with suppress(OSError):
                        self.open()
        written: int = _write(self._fd, lines, len(lines))
        return written

    def _is_foreign(self) -> bool:
        """Return whether the descriptor is not the journal's: an app may close it, and get its number for a file."""
        try:
            return os.fstat(self._fd)[1:3] != self._file
        except OSError:
            return True

    def _leave_foreign(self) -> bool:
        if self._fd < 0 or not self._is_foreign():
            return False
        self._fd = -1
        logger.warning("the app has closed fastbg's journal %s; it is opened again", escape_control(str(self.path)))
        return True

    def _count_unwritten(self, lines: bytes, written: int) -> None:
        reason = "no space left" if written > 0 else os.strerror(ctypes.get_errno())
        whole, rest = lines[: max(written, 0)], lines[max(written, 0) :]
        self._torn = not whole.endswith(b"\n") if whole else self._torn
        self._count_lost(rest.count(b"\n"), reason)

    def _write_events_lost(self) -> bool:
        """Write the number of lost events, and return whether this succeeded."""
        if self._torn and self._put(b"\n") != 1:
            return False
        self._torn = False
        lost, self.lost = self.lost, 0  # only the first of several threads writes it
        self._append(events_lost(count=lost))
        if self.lost:
            self.lost += lost - 1  # the event ``events_lost`` itself does not count
            return False
        self._warned = False
        with suppress(OSError):
            loss_sign(self.path).unlink()
        logger.warning("fastbg writes to its journal %s again; events lost: %d", self.path, lost)
        return True

    def _count_lost(self, lines: int, reason: str) -> None:
        self.lost += lines
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            with suppress(OSError):
                loss_sign(self.path).touch()  # an empty file often fits on a full disk
            logger.warning(
                "fastbg cannot write its journal %s: %s; the app continues, its events are lost until this is fixed",
                escape_control(str(self.path)),
                reason,
            )


_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()


def _flush_all() -> None:
    for journal in list(_journals):
        journal.flush()


def _end_all() -> None:
    for journal in list(_journals):
        journal.end()


def _before_fork() -> None:
    _writing.acquire()
    _flush_all()  # otherwise the child would write the lines again


os.register_at_fork(before=_before_fork, after_in_parent=_writing.release, after_in_child=_writing.release)
atexit.register(_end_all)  # for an event loop that was left in the middle of a turn
