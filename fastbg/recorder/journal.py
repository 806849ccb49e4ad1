"""The journal: what a server saw, one JSON object a line, appended by as many processes and threads as there are.

`fastbg.recorder.journal_events` makes the lines; `fastbg.recorder.journal_lines` reads them.
"""

import ctypes
import logging
import os
from pathlib import Path
from time import monotonic_ns

from fastbg.recorder.journal_events import Line, events_lost
from fastbg.recorder.rotation import open_to_write, rotate
from fastbg.text import escape_control

logger = logging.getLogger("fastbg")

CHECK_NS = 1_000_000_000  # how often, at most, `check` looks at the file


# `os.write` gives up the interpreter lock, and the threads that run tasks step in each time; under load that costs a
# server more than all the rest of the recorder. A line takes the kernel a microsecond: this keeps the lock.
_write = ctypes.PyDLL(None, use_errno=True).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t


class Journal:
    """Appends to ``path``; opened by the first `check`, and by a later one when the file was taken away or rotated.

    ``size``: bytes from which on `check` rotates it (`rotation`), 0 for never. Each line is a single write to a
    descriptor in append mode, so lines of several processes never mix. What cannot be written is counted in ``lost``
    and told to the log once: a full disk is no reason to fail a request. As soon as there is room again an event says
    how many events are not there, ``events_lost``.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.lost = 0
        self._size = size
        self._fd = -1
        self._file: tuple[int, int] | None = None
        self._checked_ns = 0
        self._torn = False
        self._away = False  # the file was taken away, and no other one can be made
        self._warned = False

    def open(self) -> None:
        """Open the file, and create it if need be. Raises `OSError`."""
        fd = open_to_write(self.path)
        status = os.fstat(fd)
        if self._fd < 0:
            self._fd = fd
        else:  # another thread may be writing: the descriptor keeps its number
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
        self._file = status.st_dev, status.st_ino
        self._torn = self._away = False

    def check(self) -> None:
        """`look`, but no more than once in a second."""
        if monotonic_ns() - self._checked_ns >= CHECK_NS or self._file is None:
            self.look()

    def look(self) -> None:
        """Rotate the file if it is full, and open it again if it is not there any more, whoever did that.

        Who writes of what another process has begun calls this first: then no event is in an older part than one that
        it follows from.
        """
        self._checked_ns = monotonic_ns()
        try:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self._file:
                self._away = False
                if not self._size or status.st_size < self._size:
                    return
                self._rotate()
        except OSError:
            pass
        try:
            self.open()
        except OSError as error:
            self._away = True
            self._warn(str(error.strerror))

    def _rotate(self) -> None:
        try:
            rotate(self.path, self._size)
        except FileNotFoundError:
            pass  # somebody took it away
        except OSError as error:
            self._size = 0
            logger.warning("fastbg cannot rotate its journal %s: %s; it grows on", self.path, error.strerror)

    def write(self, line: Line) -> None:
        """Append one event. Never raises."""
        if self.lost and not self._away and not self._tell_lost():
            self.lost += 1
        else:
            self._append(line)

    def _append(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        written = _write(self._fd, data, len(data))
        if written != len(data):
            self._torn = self._torn or written > 0
            self._lose("no space left" if written > 0 else os.strerror(ctypes.get_errno()))
            return
        if self._torn:
            self._torn = False
        if self._away:  # who followed the file that was there reads on in it; nobody else ever will
            self._lose("it was taken away")

    def _tell_lost(self) -> bool:
        """Write how many events are not there; whether there was room for it."""
        lost, self.lost = self.lost, 0  # of several threads the first one tells it
        self._append(events_lost(count=lost))
        if self.lost:
            self.lost += lost - 1  # this one does not count
            return False
        self._warned = False
        logger.warning("fastbg writes its journal %s again; events lost: %d", self.path, lost)
        return True

    def _lose(self, why: str) -> None:
        self.lost += 1
        self._warn(why)

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "fastbg cannot write its journal %s: %s; the app goes on, its events are lost until that is mended",
                escape_control(str(self.path)),
                why,
            )
