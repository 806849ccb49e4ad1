"""What a printer of followed lines can do, whatever its format: text in `text_lines`, JSON in `json_lines`."""

from pathlib import Path
from typing import Protocol

from fastbg.events import Event, Notice
from fastbg.follow.lines import Piece


class Printer(Protocol):
    """Writes what a stream shows. ``seen_ns``: monotonic, None where nobody saw it come."""

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        """A line of a file, or a part of one."""

    def event(self, path: Path, event: Event) -> None:
        """An event of the server's journal."""

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        """A line of the journal that is no event."""

    def notice(self, notice: Notice) -> None:
        """What the follower has to say about a file."""

    def flush(self) -> None:
        """Let the reader have everything so far."""

    def close(self) -> None:
        """Complete what is open, and flush."""
