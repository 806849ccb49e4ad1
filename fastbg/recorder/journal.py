"""The journal: the events of a server, one JSON object per line. Several processes and threads may append to it.

`fastbg.recorder.journal_events` makes the lines, `fastbg.recorder.journal_lines` reads them.
"""

import ctypes
import logging
import os
from pathlib import Path

from fastbg.clock import monotonic_ns
from fastbg.recorder.journal_events import Line, events_lost
from fastbg.recorder.rotation import open_to_write, rotate
from fastbg.text import escape_control

logger = logging.getLogger("fastbg")

CHECK_NS = 1_000_000_000  # the minimum time between two calls of `refresh` by `check`


# `os.write` releases the interpreter lock, and the threads that run tasks take it each time. Under load this costs a
# server more than the rest of the recorder. This function keeps the lock: the kernel needs a microsecond per line.
_write = ctypes.PyDLL(None, use_errno=True).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t


class Journal:
    """Appends lines to ``path``. The first `check` opens it; later ones open it again if it was rotated or deleted.

    ``size``: bytes at which `check` rotates it (`rotation`), 0 never rotates. Each line is a single write to a
    descriptor in append mode, so that lines of several processes are never mixed.

    A full disk must not fail a request. Lines that cannot be written are counted in ``lost``, and logged once. When
    writing works again, the event ``events_lost`` records their number.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.lost = 0
        self._size = size
        self._fd = -1
        self._file: tuple[int, int] | None = None
        self._checked_ns = 0
        self._torn = False  # the last line is incomplete
        self._is_missing = False  # the file was deleted or moved, and cannot be created again
        self._warned = False

    def open(self) -> None:
        """Open the file, and create it if it does not exist. Raises `OSError`."""
        fd = open_to_write(self.path)
        status = os.fstat(fd)
        if self._fd < 0:
            self._fd = fd
        else:  # another thread may write now: the descriptor keeps its number
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
        self._file = status.st_dev, status.st_ino
        self._torn = self._is_missing = False

    def check(self) -> None:
        """Call `refresh`, at most once per second."""
        if monotonic_ns() - self._checked_ns >= CHECK_NS or self._file is None:
            self.refresh()

    def refresh(self) -> None:
        """Rotate the file if it is full, and open it again if this or another process has rotated or deleted it.

        Call it before an event that follows from an event of another process: no event is then in an older part than
        its cause.
        """
        self._checked_ns = monotonic_ns()
        try:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self._file:
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
        """Append one event. Never raises."""
        if self.lost and not self._is_missing and not self._write_events_lost():
            self.lost += 1
        else:
            self._append(line)

    def _append(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        written = _write(self._fd, data, len(data))
        if written != len(data):
            self._torn = self._torn or written > 0
            self._count_lost("no space left" if written > 0 else os.strerror(ctypes.get_errno()))
            return
        if self._torn:
            self._torn = False
        if self._is_missing:  # only followers that have the old file open still read it
            self._count_lost("the file was deleted or moved")

    def _write_events_lost(self) -> bool:
        """Write the number of lost events, and return whether this succeeded."""
        lost, self.lost = self.lost, 0  # only the first of several threads writes it
        self._append(events_lost(count=lost))
        if self.lost:
            self.lost += lost - 1  # the event ``events_lost`` itself does not count
            return False
        self._warned = False
        logger.warning("fastbg writes to its journal %s again; events lost: %d", self.path, lost)
        return True

    def _count_lost(self, reason: str) -> None:
        self.lost += 1
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "fastbg cannot write its journal %s: %s; the app continues, its events are lost until this is fixed",
                escape_control(str(self.path)),
                reason,
            )
