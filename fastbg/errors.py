"""Errors that the user of fastbg can fix.

* FastbgError
  + MachineError
  + ServerError
    - ServerDied
  + ScriptError
  + FollowError

Each error says what happened, where, and how to fix it. The command line prints these three parts and exits with 2.
Only a bug in fastbg prints a traceback.
"""

import errno
import os
from collections.abc import Sequence

from fastbg.text import escape_control

CANNOT_WRITE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
TOO_MANY_FILES_ERRNOS = (errno.EMFILE, errno.ENFILE)
BAD_PATH_ERRNOS = (errno.EACCES, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS)
STARTUP_FAILURE = 3  # uvicorn's exit code if the app does not start
INTERRUPTED = 130  # exit code after Ctrl-C
LAST_LINES = 20  # lines of a server's output that an error shows


def install_command(extra: str) -> str:
    """Return the command that installs an extra, and where to run it: fastbg is not on a package index."""
    return f"pip install '.[{extra}]' (in the clone of fastbg)"


class FastbgError(Exception):
    """An error with three parts: ``what`` happened, ``where`` (a path, an address, a key), how to fix it (``remedy``).

    ``details``: more lines, one fault per line.
    """

    def __init__(self, what: str, *, where: str, remedy: str, details: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.details = tuple(details)

    def lines(self) -> list[str]:
        """Return the three parts and the details as lines of text, with control characters escaped."""
        return [
            f"fastbg: {escape_control(self.what)}",
            f"  where: {escape_control(self.where)}",
            *(f"    {escape_control(detail)}" for detail in self.details),
            f"  fix: {escape_control(self.remedy)}",
        ]


class MachineError(FastbgError):
    """The disk is full, too many files are open, the current folder was deleted, or a path cannot be used."""

    @classmethod
    def from_os_error(cls, error: OSError) -> "MachineError | None":
        """Return the error for these causes, None for any other. An error without a file name is of the output."""
        if error.errno in TOO_MANY_FILES_ERRNOS:
            return cls(
                f"no more files can be opened: {error.strerror}",
                where=str(error.filename or "this process"),
                remedy="raise the limit with `ulimit -n 4096`, or choose a smaller --concurrency",
            )
        if error.errno in CANNOT_WRITE_ERRNOS:
            return cls(
                f"the output cannot be written: {error.strerror}",
                where=str(error.filename or "standard output"),
                remedy="free some disk space, or write the output to another disk",
            )
        if error.errno in BAD_PATH_ERRNOS and error.filename is not None:
            return cls(
                f"this path cannot be used: {error.strerror}",
                where=os.fsdecode(error.filename),
                remedy="correct the path, or ask the owner of its folder for access",
            )
        if error.errno == errno.ENOENT and error.filename is None:  # of getcwd
            return cls(
                "the current folder does not exist any more",
                where=os.environ.get("PWD", "this process"),
                remedy="change to an existing folder",
            )
        return None


class ServerError(FastbgError):
    """A server cannot be started or reached: a port in use, an app that does not import, a refused connection."""


class ServerDied(ServerError):
    """The server process ended unexpectedly. ``stderr``: its last output lines; ``details``: at most `LAST_LINES`."""

    def __init__(self, what: str, *, where: str, remedy: str, stderr: list[str]) -> None:
        super().__init__(what, where=where, remedy=remedy, details=[f"| {line}" for line in stderr[-LAST_LINES:]])
        self.stderr = stderr


class ScriptError(FastbgError):
    """A script is not valid."""


class FollowError(FastbgError):
    """A file cannot be followed: it is a folder or a device, or it cannot be read."""
