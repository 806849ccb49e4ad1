"""A server as a test sees it, and how long each step of its life may take."""

from pathlib import Path
from typing import Protocol

from fastbg.testing.journal import JournalReader

STOP_S = 2  # how long tasks that nobody waited for may go on at the end,
HURRY_S = 0.5  # and after a Ctrl-C


class Server(Protocol):
    """A server that answers. ``name``: of the app."""

    name: str
    url: str
    journal_path: Path
    journal: JournalReader

    def trouble(self, patience_s: float = 0.0) -> str | None:
        """Return why it no longer serves, or None if it still does after ``patience_s`` seconds."""

    def begin(self) -> None:
        """Begin a test: forget what the server wrote before."""

    def last_lines(self) -> list[str]:
        """Return what it wrote last to standard error since then, where that is not this process's own."""

    def stop(self, *, drain: bool = True) -> None:
        """Let the running tasks finish for `STOP_S` seconds, then leave nothing of it. Raises `ServerError`.

        Without ``drain`` it ends within `HURRY_S` and raises nothing: what still runs is killed, or ends with us.
        """
