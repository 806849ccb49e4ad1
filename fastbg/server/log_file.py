"""Keeps the output of servers in a file."""

import os
from pathlib import Path

from fastbg.data_folder import make
from fastbg.text import escape_control

MAX_BYTES = 8 * 2**20
MARK = b"--- fastbg: "  # a line of ours; the first line of each log


class ServerLog:
    """A file with the output of one server after another, at most `MAX_BYTES`. The first one replaces an older log.

    A file that cannot be written must not end a run. ``problem``: why the output is not in the file, or None.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._fd = -1
        self._left = MAX_BYTES

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def begin(self, title: str) -> None:
        """Write a heading for the output of another server."""
        if not self.is_open and self.problem is None:
            self._open()
        self.write(MARK + escape_control(title).encode() + b" ---\n")

    def write(self, data: bytes) -> None:
        """Append ``data`` as it is. Never raises."""
        if not self.is_open or self._left <= 0:
            return
        try:
            self._append(data[: self._left])
            self._left -= len(data)
            if self._left <= 0:
                self._append(b"\n%b%d MiB are reached, later output is not kept ---\n" % (MARK, MAX_BYTES // 2**20))
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def close(self) -> None:
        if self.is_open:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        try:
            make(self.path.parent)
            # Without O_NONBLOCK, a named pipe would wait for its reader.
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            start = os.pread(self._fd, len(MARK), 0)
            if start not in (b"", MARK):
                self._give_up("the file is not a log of fastbg")
                return
            os.ftruncate(self._fd, 0)
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def _give_up(self, why: str) -> None:
        self.close()
        self.problem = f"the output of the server is not in {self.path.name}: {why}"
