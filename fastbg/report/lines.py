"""The interface of printers of followed lines: text in `text_lines`, JSON in `json_lines`."""

from pathlib import Path
from typing import Protocol

from fastbg.events import Event, Notice
from fastbg.follow.lines import Piece


class Printer(Protocol):
    """Prints a stream. ``seen_ns``: monotonic, None for lines that were already in the file."""

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        """Print a line of a file, or a part of one."""

    def event(self, path: Path, event: Event) -> None: ...

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        """Print a line of the journal that is not an event."""

    def notice(self, notice: Notice) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None:
        """End an unfinished line, and flush the output."""
