"""Brings together what the witnesses say of requests that are under way: client, files, journal."""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fastbg.events import LOST, Appended, Event, Notice, boot_id
from fastbg.evidence.attribution import Attribution
from fastbg.evidence.trace import Trace
from fastbg.follow.follower import Follower
from fastbg.recorder.journal_lines import JournalLines, read_journal_line

LATE_NS = 10_000_000_000  # how long what stands in the files at the end of a limit may take to be read
UNREAD_S = 1.0  # how long what stands in the files may take to be read where nothing else is waited for
LOOK_S = 0.05  # between two looks at whether all was read
MAX_HELD = 32  # requests that wait for others because of texts without a mark


def sizes_of(paths: Iterable[Path]) -> dict[str, int]:
    """The size of each file in bytes, by its path; 0 for one that is not there."""
    sizes = {}
    for path in paths:
        try:
            sizes[str(path)] = path.stat().st_size
        except OSError:
            sizes[str(path)] = 0
    return sizes


class Observer:
    """Follows ``files`` and ``journal``, and hands each event to the trace of its request.

    ``marks``: what the id of every request looks like, as a pattern. ``over`` is called with each trace as soon as
    nothing more is to come of it; then it is forgotten. ``tells_all``: the journal tells the sizes of all files.

    ``live``: the traces that are not over, by request id. ``remarks``: what else a reader of the result has to know.
    ``gap``: why the journal tells nothing any more, or None.
    """

    def __init__(
        self, files: Iterable[Path], journal: Path, marks: str, over: Callable[[Trace], None], *, tells_all: bool
    ) -> None:
        self.files = tuple(files)
        self.journal = journal
        self.paths = (*self.files, journal)
        self.live: dict[str, Trace] = {}
        self.remarks: dict[str, None] = {}
        self.heard_ns = time.monotonic_ns()
        self.gap: str | None = None
        self._over = over
        self._tells_all = tells_all
        self._attribution = Attribution(marks)
        self._open: dict[str, Trace] = {}  # live and not settled, in the order in which they were sent
        self._held: list[tuple[int, Trace]] = []  # settled, with the moment when the server was done
        self._lines = JournalLines()
        self._changed = asyncio.Event()
        self._follower: Follower | None = None

    def look(self) -> dict[str, int]:
        """The size of each followed file in bytes."""
        return sizes_of(self.files)

    def watch(self, trace: Trace) -> None:
        """``trace`` is about to be sent."""
        trace.witnesses.gap = self.gap
        self.live[trace.request_id] = self._open[trace.request_id] = trace

    def tell(self, trace: Trace, event: Event) -> None:
        """The client saw ``event``."""
        self.heard_ns = time.monotonic_ns()
        trace.events.append(event)
        if event.name == "request_sent":
            self._attribution.sent(trace, event.detail["sizes"])

    def consider(self, trace: Trace) -> None:
        """Something is known of ``trace`` that was not before."""
        if trace.request_id in self._open and trace.settled:
            del self._open[trace.request_id]
            if any(not expected.marked for expected in trace.expected.writes):
                self._held.append((trace.time("request_finished") or 0, trace))
            else:
                self._finish(trace)
            self._release()
        self._changed.set()

    def give_up(self, trace: Trace, why: str | None) -> None:
        """Nothing more is waited for; ``trace`` is over as it is."""
        trace.ended = trace.ended or why
        self._open.pop(trace.request_id, None)
        self._held = [(done_ns, held) for done_ns, held in self._held if held is not trace]
        self._finish(trace)
        self._release()

    async def follow(self, follower: Follower) -> None:
        """Take what comes, until cancelled."""
        self._follower = follower
        async for item in follower:
            if isinstance(item, Notice):
                self._note(item)
            elif item.path == self.journal:
                self._read_journal(item)
            else:
                for trace in self._attribution.appended(item):
                    self.heard_ns = time.monotonic_ns()
                    self.consider(trace)
            self._changed.set()

    def all_read(self) -> bool:
        """Whether the follower has told everything that stands in the files."""
        return self._follower is not None and self._follower.all_given()

    async def read_all(self) -> None:
        """Wait until everything that stands in the files is known, for a second at most."""
        await self.until(self.all_read, UNREAD_S)

    async def until(
        self,
        happened: Callable[[], bool],
        seconds: float,
        *,
        quiet: bool = False,
        due_ns: Callable[[], int | None] = lambda: None,
    ) -> bool:
        """Whether ``happened`` came true within ``seconds``; it is asked whenever a witness has said something.

        What stands in the files at that moment still counts: on a busy machine nobody may have read it yet.
        ``quiet``: within so many seconds since a witness has last said anything of a request, which may be over.
        ``due_ns``: a monotonic time after which nothing is waited for, None as long as there is none.
        """
        begin_ns, over_ns = time.monotonic_ns(), 0
        while not happened():
            now_ns, last_ns = time.monotonic_ns(), due_ns()
            left_s = seconds - (now_ns - (self.heard_ns if quiet else begin_ns)) / 1e9
            if last_ns is not None:
                left_s = min(left_s, (last_ns - now_ns) / 1e9)
            over_ns = (over_ns or now_ns) if left_s <= 0 else 0
            if over_ns and (self._follower is None or self.all_read() or now_ns - over_ns > LATE_NS):
                return False
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s if left_s > 0 else LOOK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return True

    def wake(self) -> None:
        """Let `until` ask again."""
        self._changed.set()

    def lacks_events(self, why: str) -> None:
        """The journal may lack events of each request that is under way."""
        self.remarks[why] = None
        for trace in [trace for trace in self.live.values() if trace.witnesses.journal and not trace.settled]:
            trace.witnesses.gap = why
            self.consider(trace)

    def _release(self) -> None:
        """End those that are held: each may expect a text without a mark.

        Such a text may belong to any request that was under way when it came, and be handed on from one to another
        until all of these are known. Few are held until every request that was sent before one of them was done is
        known. Under load that moment never comes: then the texts are taken from the front, and who was held so may
        go when every request that was sent before it was done is known.
        """
        if len(self._held) > MAX_HELD and not self._attribution.from_front:
            self._attribution.deal_from_front()
        if not self._held:
            return
        oldest_ns = next((sent_ns for trace in self._open.values() if (sent_ns := trace.time("request_sent"))), None)
        last_ns = max(done_ns for done_ns, _ in self._held)
        held, self._held = self._held, []
        for done_ns, trace in held:
            limit_ns = done_ns if self._attribution.from_front else last_ns
            if oldest_ns is not None and oldest_ns < limit_ns:
                self._held.append((done_ns, trace))
            else:
                self._finish(trace)

    def _finish(self, trace: Trace) -> None:
        if self.live.pop(trace.request_id, None) is not None:
            self._over(trace)
            self._attribution.over(trace)
            self._changed.set()

    def _note(self, notice: Notice) -> None:
        if notice.kind == "polling":
            self.remarks[notice.message] = None
        if notice.kind in ("refused", "skipped"):
            self.remarks[f"{notice.path}: {notice.message}"] = None
        if notice.kind == "skipped":
            self.lacks_events("a part of the server's journal was deleted before it was read")
        if notice.kind in ("truncated", "replaced"):
            path = str(notice.path)
            if notice.path == self.journal:
                self._lines = JournalLines()
                if notice.kind == "truncated":
                    self.lacks_events("the server's journal was truncated or rewritten meanwhile")
                return
            self._attribution.restarted(path)
            for trace in list(self.live.values()):
                if not trace.settled:
                    trace.witnesses.disturbed.add(path)
                    self.consider(trace)

    def _read_journal(self, item: Appended) -> None:
        for line in self._lines.feed(item.data, item.file):
            event = read_journal_line(line)
            if event is None:
                continue
            if event.name == LOST:
                self.lacks_events("the server could not write its journal for a while, see its log")
            trace = self.live.get(event.request_id or "")
            if trace is None:
                continue
            if event.detail.get("boot") != boot_id() and event.detail.get("server", "").startswith(boot_id()):
                self.remarks["a worker runs under another boot: its times are not compared with ours"] = None
            elif event.detail.get("boot") != boot_id():
                self.remarks["the server runs on another host: its times are not compared with ours"] = None
                continue
            trace.events.append(event)
            if trace.request_id in self._open:  # and no probe
                self.heard_ns = time.monotonic_ns()
            if event.name == "request_finished" or (event.name.startswith("task_") and "files" in event.detail):
                sizes = event.detail.get("files") or {}
                none = dict.fromkeys(map(str, self.files), 0) if self._tells_all else {}
                self._attribution.finished(trace, none | sizes)
            self.consider(trace)
