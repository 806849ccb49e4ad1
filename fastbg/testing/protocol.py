"""What the fixtures need of a server, whichever way it serves the app."""

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

    def trouble(self, patience_s: float = 0.0) -> str:
        """Why it serves no more, asked for as long as that; empty if it serves."""

    def begin(self) -> None:
        """A test begins: what was written before is none of its business."""

    def last_lines(self) -> list[str]:
        """What it wrote last to standard error since then, where that is not this process's own."""

    def stop(self, *, drain: bool = True) -> None:
        """Let the running tasks finish for `STOP_S` seconds; nothing of it is left. Raises `ServerError`.

        Without ``drain`` it ends within `HURRY_S` and raises nothing: what still runs is killed, or ends with us.
        """
