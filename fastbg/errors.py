"""What fastbg raises for a mistake that its user can mend.

* FastbgError
  + ServerError
    - ServerDied
  + ScriptError
  + FollowError

Each one says what happened, where, and what to do. The command line prints the three
parts and exits with 2; a traceback is for fastbg's own mistakes only.
"""

from collections.abc import Sequence


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


class ServerError(FastbgError):
    """A server could not be started or reached: busy port, app that does not import, refused connection."""


class ServerDied(ServerError):
    """The child server ended by itself. ``stderr`` holds the last lines that it wrote there."""

    def __init__(self, what: str, *, where: str, remedy: str, stderr: list[str]) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.stderr = stderr


class ScriptError(FastbgError):
    """A script that cannot be run as it is written."""


class FollowError(FastbgError):
    """A file that cannot be followed: a folder, a device, one that may not be read."""
