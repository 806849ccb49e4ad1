"""What fastbg raises for a mistake that its user can mend.

* FastbgError
  + MachineError
  + ServerError
    - ServerDied
  + ScriptError
  + FollowError

Each one says what happened, where, and what to do. The command line prints the three
parts and exits with 2; a traceback is for fastbg's own mistakes only.
"""

import errno
from collections.abc import Sequence

from fastbg.text import escape_control

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
NO_FILES = (errno.EMFILE, errno.ENFILE)
STARTUP_FAILURE = 3  # uvicorn's exit code where the app does not start
INTERRUPTED = 130  # exit code after Ctrl-C
LAST_LINES = 20  # of what a server wrote before it ended


def install_command(extra: str) -> str:
    """Return the command that installs an extra of fastbg, and where to run it: no package index has fastbg."""
    return f"pip install '.[{extra}]' (in the clone of fastbg)"


class FastbgError(Exception):
    """``what`` happened, ``where`` (a path, an address, a key), and what to do about it (``remedy``).

    ``details``: lines that say more, one fault each.
    """

    def __init__(self, what: str, *, where: str, remedy: str, details: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.details = tuple(details)

    def lines(self) -> list[str]:
        """The three parts and the details as lines of text, with control characters escaped."""
        return [
            f"fastbg: {escape_control(self.what)}",
            f"  where: {escape_control(self.where)}",
            *(f"    {escape_control(detail)}" for detail in self.details),
            f"  to do: {escape_control(self.remedy)}",
        ]


class MachineError(FastbgError):
    """The machine has no room left: on a disk, or for open files."""

    @classmethod
    def of(cls, error: OSError) -> "MachineError | None":
        """What ``error`` says of the machine, or None. Without a file's name in it, standard output is what it met."""
        if error.errno in NO_FILES:
            return cls(
                f"no more files can be opened: {error.strerror}",
                where=str(error.filename or "this process"),
                remedy="allow more, `ulimit -n 4096`; with a smaller --concurrency fewer are needed",
            )
        if error.errno in NO_ROOM:
            return cls(
                f"the output cannot be written: {error.strerror}",
                where=str(error.filename or "standard output"),
                remedy="free some space, or let it go elsewhere",
            )
        return None


class ServerError(FastbgError):
    """A server could not be started or reached: busy port, app that does not import, refused connection."""


class ServerDied(ServerError):
    """The child server ended by itself. ``stderr``: the last lines that it wrote there, ``details``: the last few."""

    def __init__(self, what: str, *, where: str, remedy: str, stderr: list[str]) -> None:
        super().__init__(what, where=where, remedy=remedy, details=[f"| {line}" for line in stderr[-LAST_LINES:]])
        self.stderr = stderr


class ScriptError(FastbgError):
    """A script that cannot be run as it is written."""


class FollowError(FastbgError):
    """A file that cannot be followed: a folder, a device, one that may not be read."""
