"""The stream of lines and events from followed files and journals to a printer, in the order of time.

The time of an event is the one that the server recorded; the time of a file's bytes is when they were seen. An event of
another boot is ordered by the time at which it was read. Everything is held for a moment, because earlier items may
still arrive, and because the next events show whether a line is the last one of its request.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from fastbg.clock import monotonic_ns
from fastbg.events import Appended, Notice
from fastbg.evidence.activity import ActiveRequest, Activity
from fastbg.follow.lines import windows
from fastbg.follow.writers import Writers
from fastbg.report.journal_entries import Foreign, JournalEntries
from fastbg.report.lines import Entry, JournalPrinter, Sighting, has_line
from fastbg.report.moments import of_this_boot
from fastbg.report.stream import Stream, restarts
from fastbg.report.time_order import TimeOrder

HOLD_NS = 30_000_000
END_HOLD_NS = 20_000_000  # more for the end of a task: a write of the task may be seen later
UNREAD_NS = 1_000_000_000  # how long a write waits for the journal to be read
POLL_S = 0.01
CHECK_NS = 1_000_000_000  # between two searches for overdue requests and ended servers

Item = Appended | Notice | Foreign | Entry


class _Held:
    """Counts the events that are held, by the number of their request."""

    def __init__(self) -> None:
        self._lines: Counter[int] = Counter()  # with a line of their own
        self._ends: Counter[int] = Counter()  # the ends of tasks, which have a line only if no write was seen

    def change(self, entry: Entry, by: int) -> None:
        if entry.request is None or not has_line(entry):
            return
        counts = self._ends if entry.event.name == "task_finished" else self._lines
        counts[entry.request.number] += by
        if not counts[entry.request.number]:
            del counts[entry.request.number]

    def is_last_write(self, request: ActiveRequest | None) -> bool:
        return request is not None and request.is_over and request.number not in self._lines

    def is_last_event(self, request: ActiveRequest | None) -> bool:
        return self.is_last_write(request) and request is not None and request.number not in self._ends


class JournalStream(Stream):
    """Prints lines and events in the order of time.

    ``max_requests``: number of requests in the journal's old part that are shown, None for all its events.
    """

    def __init__(self, printer: JournalPrinter, journals: Sequence[Path], max_requests: int | None = None) -> None:
        super().__init__(printer)
        self._events = printer
        self._journals = {path: JournalEntries(path) for path in journals}
        self._max_requests = max_requests
        self._order = TimeOrder[Item](HOLD_NS)
        self._activity = Activity()
        self._writers = Writers(journals)
        self._held = _Held()
        self._old: list[Entry | Foreign] = []
        self._start_ns = self._checked_ns = monotonic_ns()
        self._seen: dict[Path, int] = {}  # when bytes of a file were last seen

    def old(self, path: Path, offset: int, data: bytes) -> None:
        if path in self._journals:
            self._old += self._journals[path].old(offset, data)
        else:
            super().old(path, offset, data)

    def old_end(self, path: Path) -> None:
        old, self._old = self._old, []
        for item in old:
            if isinstance(item, Entry):
                item.request = self._activity.add(item.event)
        shown = self._last_requests(old)
        for item in shown:
            if isinstance(item, Entry):
                self._held.change(item, 1)
        for item in shown:
            self._show(item)

    def end(self, path: Path) -> None:
        if path in self._journals:
            self._old += self._journals[path].finish(None)
        super().end(path)

    def new(self, item: Appended | Notice) -> None:
        journal = self._journals.get(item.path)
        if journal is None:
            self._order.add(item.t_ns, item)
        elif isinstance(item, Appended):
            for entry in journal.new(item):
                self._add(entry, item.t_ns)
        else:
            for entry in journal.finish(item.t_ns) if restarts(item) else ():
                self._add(entry, item.t_ns)
            self._order.add(item.t_ns, item)

    def show_due(self) -> float | None:
        while (wait_s := self._order.wait_s()) is not None and wait_s <= 0:
            if self._waits_for_journal(self._order.first):
                wait_s = POLL_S
                break
            self._show(self._order.pop())
        check_s = self._check_requests()
        self._printer.flush()
        return min((wait for wait in (wait_s, check_s) if wait is not None), default=None)

    def close(self) -> None:
        for journal in self._journals.values():
            for entry in journal.finish(None):
                self._add(entry, monotonic_ns())
        while self._order:
            self._show(self._order.pop())
        super().close()

    def _last_requests(self, old: list[Entry | Foreign]) -> list[Entry | Foreign]:
        if self._max_requests is None:
            return old
        numbers = {item.request.number for item in old if isinstance(item, Entry) and item.request is not None}
        last = set(sorted(numbers)[max(len(numbers) - self._max_requests, 0) :])
        shown: list[Entry | Foreign] = []
        has_begun = False
        for item in old:
            name = item.event.name if isinstance(item, Entry) and not item.request else ""
            is_last = isinstance(item, Foreign) or (item.request is not None and item.request.number in last)
            has_begun = has_begun or is_last
            # The start of a process has no line. It says whether what the process has not finished may still run.
            if is_last or name == "recording_started" or (name in ("shutdown", "loop_blocked") and has_begun):
                shown.append(item)
        return shown

    def _add(self, entry: Entry | Foreign, seen_ns: int) -> None:
        t_ns = seen_ns
        if isinstance(entry, Entry):
            event = entry.event
            entry.request = self._activity.add(event)
            self._held.change(entry, 1)
            if of_this_boot(event):
                t_ns = min(seen_ns, event.t_ns)
                self._writers.add(event.detail["pid"])
            if event.name == "task_finished":
                t_ns += END_HOLD_NS
        self._order.add(t_ns, entry)

    def _waits_for_journal(self, item: Item) -> bool:
        """Return whether ``item`` is a write, and an event before it may still be unread."""
        if not isinstance(item, Appended) or monotonic_ns() - item.t_ns > HOLD_NS + UNREAD_NS:
            return False
        return not all(map(self.is_read, self._journals))

    def _check_requests(self) -> float | None:
        """Print overdue requests, and those whose server has ended. Returns the seconds until the next check."""
        if not self._activity.open:
            return None
        now_ns = monotonic_ns()
        if now_ns - self._checked_ns >= CHECK_NS:
            self._checked_ns = now_ns
            for pid in self._writers.ended(self._activity.pids):
                for request in self._activity.end_process(pid):
                    if request.received_ns >= self._start_ns:
                        self._events.lost(request, now_ns)
            for request, task in self._activity.overdue(now_ns):
                if request.received_ns >= self._start_ns:
                    self._events.overdue(request, task, now_ns)
        return (self._checked_ns + CHECK_NS - now_ns) / 1e9

    def _show(self, item: Item) -> None:
        match item:
            case Appended():
                self._show_pieces(item)
            case Notice():
                self._show_notice(item)
            case Foreign():
                self._events.foreign(item.path, item.text, item.seen_ns)
            case Entry():
                self._held.change(item, -1)
                self._events.event(item, last=self._held.is_last_event(item.request))
            case _:
                assert_never(item)

    def _show_pieces(self, item: Appended) -> None:
        before_ns = self._seen.get(item.path, self._start_ns)
        self._seen[item.path] = item.t_ns
        pieces = self._decode(item.path, item.offset, item.data)
        is_read = all(map(self.is_read, self._journals))
        more = any(isinstance(held, Appended) for held in self._order)
        for piece, end, earliest_ns in windows(pieces, item, before_ns):
            writer = self._activity.writer(piece.text, earliest_ns, item.t_ns) if is_read and piece.text else None
            if writer is not None:
                writer.add_write(earliest_ns, item.t_ns)
            last = piece is pieces[-1] and not more and self._held.is_last_write(writer)
            self._printer.piece(item.path, piece, Sighting(item.t_ns, earliest_ns, end, writer, last))
