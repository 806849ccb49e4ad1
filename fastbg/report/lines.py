"""The interface of printers of followed lines: text in `text_lines` and `request_lines`, JSON in `json_lines`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastbg.events import LOST, Event, Notice
from fastbg.follow.lines import Piece

if TYPE_CHECKING:
    from fastbg.evidence.activity import ActiveRequest, ActiveTask

LONG_WAIT_MS = 200.0

_WITH_LINE = {
    *("response_sent", "response_lost", "task_finished", "task_failed", "task_dropped", "task_retried"),
    *("loop_blocked", "shutdown", LOST),
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """When bytes of a file were seen: written between ``earliest_ns`` and ``t_ns`` (both monotonic).

    ``end``: offset of the byte after them. ``writer``: the request that wrote them, None without a journal, and if the
    journal leaves more than one or none. ``last``: the writer has ended, and nothing more of it is known.
    """

    t_ns: int
    earliest_ns: int
    end: int
    writer: "ActiveRequest | None" = None
    last: bool = False


@dataclass(slots=True)
class Entry:
    """An event of a journal. ``request``: the one that it belongs to, None without one, or if its start is unknown."""

    path: Path
    event: Event
    request: "ActiveRequest | None" = None


def has_line(entry: Entry) -> bool:
    """Return whether an event is worth a line for people."""
    detail = entry.event.detail
    if entry.event.name == "request_finished":  # the error of a task has its own line
        return "error" in detail and not (entry.request is not None and entry.request.failed_tasks)
    is_unusual = entry.event.name in ("task_queued", "task_started") and "detail" in detail
    return entry.event.name in _WITH_LINE or is_unusual or detail.get("waited_ms", 0.0) >= LONG_WAIT_MS


class Printer(Protocol):
    """Prints a stream of lines."""

    def piece(self, path: Path, piece: Piece, sighting: Sighting | None) -> None:
        """Print a line of a file, or a part of one. ``sighting``: None for a line that was already in the file."""

    def notice(self, notice: Notice) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None:
        """End an unfinished line, and flush the output."""


class JournalPrinter(Printer, Protocol):
    """Prints a stream of lines and of the events of journals."""

    def event(self, entry: Entry, *, last: bool) -> None:
        """Print an event. ``last``: the request has ended, and nothing more of it is known."""

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        """Print a line of the journal that is not an event."""

    def overdue(self, request: "ActiveRequest", task: "ActiveTask | None", now_ns: int) -> None:
        """Print that ``task`` waits, or without one that the response does."""

    def lost(self, request: "ActiveRequest", now_ns: int) -> None:
        """Print that the server process of ``request`` has ended before the request."""
