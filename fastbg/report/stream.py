"""The stream of lines and events from followed files to a printer.

With a journal the stream is in the order of time. The time of an event is the one that the server recorded; the time
of a file's bytes is when they were seen. An event of another boot is ordered by the time at which it was read.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from fastbg.events import Appended, Notice
from fastbg.follow.lines import LineDecoder
from fastbg.report.journal_entries import Entry, Foreign, JournalEntries
from fastbg.report.lines import Printer
from fastbg.report.moments import of_this_boot
from fastbg.report.time_order import TimeOrder

HOLD_NS = 30_000_000

Item = Appended | Notice | Foreign | Entry


class Stream:
    """Prints lines and events in the order of time."""

    def __init__(self, printer: Printer, journals: Sequence[Path]) -> None:
        self._printer = printer
        self._journals = {path: JournalEntries(path) for path in journals}
        self._decoders: dict[Path, LineDecoder] = {}
        self._order = TimeOrder[Item](HOLD_NS if journals else 0)

    def old(self, path: Path, offset: int, data: bytes) -> None:
        """Print data that was in the file before following started."""
        if path in self._journals:
            for entry in self._journals[path].old(offset, data):
                self._show(entry)
        else:
            self._show_pieces(path, offset, data, None)

    def old_end(self, path: Path) -> None:
        """End the file: print its last, incomplete line."""
        if path in self._journals:
            for entry in self._journals[path].finish(None):
                self._show(entry)
        else:
            self._end_line(path, None)

    def new(self, item: Appended | Notice) -> None:
        """Add an item of the follower; `show_due` prints it when it is due."""
        journal = self._journals.get(item.path)
        if journal is None:
            self._order.add(item.t_ns, item)
        elif isinstance(item, Appended):
            for entry in journal.new(item):
                self._order.add(_time_of(entry, item.t_ns), entry)
        else:
            for entry in journal.finish(item.t_ns) if _restarts(item) else ():
                self._order.add(item.t_ns, entry)
            self._order.add(item.t_ns, item)

    def show_due(self) -> float | None:
        """Print all due items. Returns the seconds until the next one is due, None if no item is held."""
        while (wait_s := self._order.wait_s()) is not None and wait_s <= 0:
            self._show(self._order.pop())
        self._printer.flush()
        return wait_s

    def flush(self) -> None:
        self._printer.flush()

    def close(self) -> None:
        """Print all held items and the last, incomplete lines."""
        for journal in self._journals.values():
            for entry in journal.finish(None):
                self._order.add(time.monotonic_ns(), entry)
        while self._order:
            self._show(self._order.pop())
        self._printer.close()

    def _show(self, item: Item) -> None:
        match item:
            case Appended():
                self._show_pieces(item.path, item.offset, item.data, item.t_ns)
            case Notice():
                if _restarts(item):
                    self._end_line(item.path, item.t_ns)
                self._printer.notice(item)
            case Foreign():
                self._printer.foreign(item.path, item.text, item.seen_ns)
            case Entry():
                self._printer.event(item.path, item.event)
            case _:
                assert_never(item)

    def _show_pieces(self, path: Path, offset: int, data: bytes, seen_ns: int | None) -> None:
        for piece in self._decoders.setdefault(path, LineDecoder()).feed(data, offset):
            self._printer.piece(path, piece, seen_ns)

    def _end_line(self, path: Path, seen_ns: int | None) -> None:
        if (decoder := self._decoders.get(path)) and (piece := decoder.finish()):
            self._printer.piece(path, piece, seen_ns)


def _time_of(entry: Entry | Foreign, seen_ns: int) -> int:
    if isinstance(entry, Entry) and of_this_boot(entry.event):
        return min(seen_ns, entry.event.t_ns)
    return seen_ns


def _restarts(notice: Notice) -> bool:
    return notice.kind in ("truncated", "replaced")
