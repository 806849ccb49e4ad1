"""The journal: what a server saw, one JSON object a line, appended by as many processes and threads as there are.

`read_journal_line` in `fastbg.events` reads what `Journal.write` wrote; `fastbg.recorder` says which events there are.
"""

import ctypes
import logging
import os
import time
from json.encoder import encode_basestring_ascii
from pathlib import Path

from fastbg.events import boot_id

logger = logging.getLogger("fastbg")

CHECK_NS = 1_000_000_000  # how often, at most, `check` looks whether the file is still there


def encode(text: str, limit: int) -> str:
    """``text`` as a JSON string in ASCII of at most ``limit`` bytes, quotes included; cut at its end if need be."""
    encoded = encode_basestring_ascii(text[:limit])
    if len(encoded) > limit:
        encoded = encode_basestring_ascii(text[: limit // 13] + "…")  # a character may take 12 bytes
    return encoded


_libc_write = ctypes.PyDLL(None, use_errno=True).write
_libc_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_libc_write.restype = ctypes.c_ssize_t


def _write(fd: int, line: bytes) -> int:
    """`os.write` for a file on disk, which keeps the interpreter lock: a line takes a microsecond.

    To give the lock up for it lets the threads that run tasks in between every time, which costs a server under load
    more than all the rest of the recorder.
    """
    written: int = _libc_write(fd, line, len(line))
    if written < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return written


class Journal:
    """Appends to ``path``; opened by the first write, again in a forked child, and when the file was taken away.

    Each line is a single write to a descriptor in append mode, so lines of several processes never mix.
    What cannot be written is counted in ``lost`` and told to the log once: a full disk is no reason to fail a request.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._fd = -1
        self._file: tuple[int, int] | None = None
        self._pid = 0
        self._process = ""
        self._checked_ns = 0
        self._torn = False

    def open(self) -> None:
        """Open the file, and create it if need be. Raises `OSError`."""
        fd = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        status = os.fstat(fd)
        if self._fd < 0:
            self._fd = fd
        else:  # another thread may be writing: the descriptor keeps its number
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
        self._file = status.st_dev, status.st_ino
        self._torn = False

    def close(self) -> None:
        """Close the file; a later `check` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file, self._checked_ns = -1, None, 0

    def check(self) -> None:
        """Open the file again if it was deleted or replaced; looks no more than once in a second."""
        now_ns = time.monotonic_ns()
        if now_ns - self._checked_ns < CHECK_NS and self._file is not None:
            return
        self._checked_ns = now_ns
        try:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self._file:
                return
        except OSError:
            pass
        try:
            self.open()
        except OSError as error:
            self._warn(error)

    def write(self, event: str, request: str, fields: str = "", t_ns: int | None = None) -> None:
        """Append one event, now or at ``t_ns`` (monotonic). Never raises.

        ``request``: the request's id, encoded. ``fields``: further fields, encoded, each with a comma before it.
        """
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._process = f'"boot":{encode(boot_id(), 80)},"pid":{self._pid}'
        line = (
            f'{{"t_ns":{t_ns or time.monotonic_ns()},"wall_ns":{time.time_ns()},{self._process},'
            f'"event":"{event}","request":{request}{fields}}}\n'
        ).encode("ascii")
        if self._torn:
            line = b"\n" + line
        try:
            self._torn = _write(self._fd, line) != len(line)
        except OSError as error:
            self._warn(error)
            return
        if self._torn:
            self._warn(OSError("the disk took a part of a line only"))

    def _warn(self, error: OSError) -> None:
        if not self.lost:
            logger.warning(
                "fastbg cannot write its journal %s: %s; the app goes on, its events are lost.", self.path, error
            )
        self.lost += 1
