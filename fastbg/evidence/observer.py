"""Collects the evidence about running requests from client, files and journal."""

import asyncio
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from pathlib import Path

from fastbg.clock import monotonic_ns
from fastbg.events import FILE_SEEN, LOST, Appended, Event, Notice, boot_id
from fastbg.evidence.attribution import Attribution
from fastbg.evidence.blocked_places import BlockedPlace, BlockedPlaces
from fastbg.evidence.existence import LOOKS, find_changes
from fastbg.evidence.process_state import SeenProcesses
from fastbg.evidence.second_look import SecondLook
from fastbg.evidence.seen_lines import SeenLines
from fastbg.evidence.trace import Disturbance, Trace
from fastbg.evidence.verdict import is_perhaps_rewritten
from fastbg.follow.follower import Follower
from fastbg.recorder.files import sizes_of
from fastbg.recorder.journal_lines import JournalLines, read_journal_line
from fastbg.recorder.rotation import loss_signs

READ_LIMIT_NS = 10_000_000_000  # for reading the files after another limit has ended
UNREAD_S = 1.0  # limit for reading the files in `read_all`
POLL_S = 0.05  # between two checks whether everything was read
MAX_HELD = 32  # settled requests that wait for others because of texts without an id


class Observer:
    """Follows ``files`` and ``journal`` and adds each event to the trace of its request.

    ``id_pattern``: a pattern that matches every request id. ``on_done``: receives each complete trace, which the
    observer then removes. ``has_all_sizes``: whether the server records the sizes of all files.

    ``live``: the traces that are not complete, by request id. ``remarks``: notes for the reader of the result.
    ``gap``: why the server no longer writes its journal, or None. ``seen``: the lines in the files.
    ``blocked``: what blocked the event loop outside of tasks.
    """

    def __init__(
        self,
        files: Iterable[Path],
        journal: Path,
        id_pattern: str,
        on_done: Callable[[Trace], None],
        *,
        has_all_sizes: bool,
    ) -> None:
        self.files = tuple(files)
        self.journal = journal
        self.paths = (*self.files, journal)
        self._names = [str(path) for path in self.files]
        self.live: dict[str, Trace] = {}
        self.remarks: dict[str, None] = {}
        self.last_event_ns = monotonic_ns()
        self.gap: str | None = None
        self.seen = SeenLines()
        self.blocked = BlockedPlaces()
        self._processes = SeenProcesses()
        self._on_done = on_done
        self._has_all_sizes = has_all_sizes
        self._attribution = Attribution(id_pattern)
        self._second_look = SecondLook(self._attribution)
        self._to_look: dict[str, Trace] = {}  # whose files have to be looked at again
        self._looked: dict[str, Trace] = {}  # whose files were looked at again, and did not have all writes
        self._wants_look = asyncio.Event()
        self._writers: dict[str, dict[str, Trace]] = {}  # the open requests that are expected to write to a file, by id
        self._alone: dict[str, Trace] = {}  # the only one of them that may still do so
        self._open: dict[str, Trace] = {}  # live and not settled, in the order in which they were sent
        self._held: list[tuple[int, str, Trace]] = []  # settled; a heap by the time at which the server finished them
        self._found: dict[str, int] = {}  # expected writes that were seen, by request id
        self._lines = JournalLines()
        self._old_signs = loss_signs(journal)
        self._waiters: dict[str | None, dict[asyncio.Event, None]] = {}  # by request id; None: for the files
        self._follower: Follower | None = None

    def file_sizes(self) -> dict[str, int]:
        """Return the size of each followed file that exists in bytes, by its path."""
        return sizes_of(self._names)

    def watch(self, trace: Trace) -> None:
        """Add ``trace``, which is about to be sent."""
        trace.witnesses.gap, trace.witnesses.all_files = self.gap, self._has_all_sizes
        self.live[trace.request_id] = self._open[trace.request_id] = trace

    def record(self, trace: Trace, event: Event) -> None:
        """Record an event of the client."""
        if event.name != "request_failed":  # such as a timeout, which is no progress
            self.last_event_ns = monotonic_ns()
        trace.events.append(event)
        if event.name == "request_sent":
            self._attribution.sent(trace, event.detail["sizes"])
            self._second_look.sent(trace)
            self._mark_shared(trace)
        if event.name == "response_complete":
            for path in self._attribution.shrunk(trace, event.detail["sizes"]):
                self._disturb(path, "rewritten")
        if event.name in LOOKS:
            find_changes(trace)

    def update(self, trace: Trace) -> None:
        """Check whether new evidence completes ``trace``."""
        if trace.request_id in self._open:
            if trace.settled:
                self._close(trace)
                if any(write.is_anonymous for write in trace.expected.writes) or is_perhaps_rewritten(trace):
                    heappush(self._held, (trace.time("request_finished") or 0, trace.request_id, trace))
                else:
                    self._finish(trace)
                self._release()
            elif trace.request_id not in self._looked and trace.needs_look:
                self._look_soon(trace)
        self._wake(trace.request_id)

    def _look_soon(self, trace: Trace) -> None:
        self._looked[trace.request_id] = self._to_look[trace.request_id] = trace
        self._wants_look.set()

    async def look_again(self) -> None:
        """Look again at the files of requests that have ended without an expected write, until cancelled."""
        while True:
            while self._to_look:
                await self.look(self._to_look.pop(next(iter(self._to_look))))
            self._wants_look.clear()
            await self._wants_look.wait()

    async def look(self, trace: Trace) -> None:
        """Look again at the files in which expected writes of ``trace`` were not seen."""
        found = await self._second_look.look(trace)
        for path, how in found.items():
            self._disturb(path, how)
            self._look_for_overwritten(path)
        self.update(trace)

    def _look_for_overwritten(self, path: str) -> None:
        """Look again for writes that may have been overwritten, after a text of another request was seen."""
        for trace in list(self._looked.values()):
            if path in trace.witnesses.disturbed and any(write.file == path for write in trace.missing):
                self._look_soon(trace)

    def _disturb(self, path: str, how: Disturbance) -> None:
        """Mark that offsets in ``path`` prove nothing, for every unsettled request."""
        for trace in list(self.live.values()):
            if how in ("rewritten", "replaced") or path not in trace.witnesses.disturbed:
                trace.witnesses.disturbed[path] = how
            self.update(trace)

    def _mark_shared(self, trace: Trace) -> None:
        """Mark the expected writes to each file that another open request may write to at the same time."""
        for file in trace.expected.files:
            writers = self._writers.setdefault(file, {})
            while writers and not (other := next(iter(writers.values()))).may_write(file):
                del writers[other.request_id]
            if writers:
                trace.share(file)
                if alone := self._alone.pop(file, None):
                    alone.share(file)
            else:
                self._alone[file] = trace
            writers[trace.request_id] = trace

    def _close(self, trace: Trace) -> None:
        """Remove ``trace`` from the open requests."""
        self._open.pop(trace.request_id, None)
        for file in trace.expected.files:
            self._writers.get(file, {}).pop(trace.request_id, None)
            if self._alone.get(file) is trace:
                del self._alone[file]

    def end(self, trace: Trace, why: str | None, *, server_gone: bool = False) -> None:
        """End ``trace`` with the evidence so far."""
        trace.ended = trace.ended or why
        trace.ended_ns, trace.server_gone = monotonic_ns(), server_gone
        self._close(trace)
        self._finish(trace)
        self._release()

    async def follow(self, follower: Follower) -> None:
        """Read the follower's items until cancelled."""
        self._follower = follower
        async for item in follower:
            if isinstance(item, Notice):
                self._handle_notice(item)
            elif item.path == self.journal:
                self._read_journal(item)
            else:
                self.seen.add(item)
                if b"\0" in item.data:  # space for later: its size does not show when a text came into it
                    self._disturb(str(item.path), "perhaps changed in place")
                changed = self._attribution.appended(item)
                for trace in changed:
                    found = sum(min(len(write.writes), write.count) for write in trace.expected.writes)
                    if found > self._found.get(trace.request_id, 0):  # a task may write without end
                        self._found[trace.request_id], self.last_event_ns = found, monotonic_ns()
                    self.update(trace)
                if changed:
                    self._look_for_overwritten(str(item.path))
            self._wake(None)

    def why_gone(self, trace: Trace) -> str | None:
        """Return why the server process of ``trace`` records no more events, None if it may still do so."""
        received = trace.find("request_received")
        return None if received is None else self._processes.why_gone(received)

    def all_read(self) -> bool:
        """Return whether the follower has delivered all bytes of the files."""
        return self._follower is not None and self._follower.all_read()

    async def read_all(self) -> None:
        """Wait until all bytes of the files are read, at most `UNREAD_S` seconds."""
        await self.until(self.all_read, UNREAD_S)

    def has_read_until(self, expired_ns: int) -> bool:
        """Return whether all bytes are read that were in the files when a limit ended, or it ended too long ago."""
        return self._follower is None or self.all_read() or monotonic_ns() - expired_ns > READ_LIMIT_NS

    async def until(
        self,
        happened: Callable[[], bool],
        seconds: float,
        *,
        trace: Trace | None = None,
        quiet: bool = False,
        due_ns: Callable[[], int | None] = lambda: None,
    ) -> bool:
        """Wait until ``happened()`` is true, at most ``seconds``; return whether it became true.

        Bytes that are in the files at the end of the limit still count: on a busy machine they may be unread.
        ``trace``: the request that ``happened()`` asks about; None if it asks about the files. ``quiet``: the limit
        starts again with every event of a request. ``due_ns``: returns a monotonic time that ends the wait, or None.
        """
        key, changed = trace.request_id if trace else None, asyncio.Event()
        waiters = self._waiters.setdefault(key, {})
        waiters[changed] = None
        try:
            return await self._until(happened, seconds, changed, quiet=quiet, due_ns=due_ns)
        finally:
            del waiters[changed]
            if not waiters:
                self._waiters.pop(key, None)

    async def _until(
        self,
        happened: Callable[[], bool],
        seconds: float,
        changed: asyncio.Event,
        *,
        quiet: bool,
        due_ns: Callable[[], int | None],
    ) -> bool:
        start_ns, expired_ns = monotonic_ns(), 0
        while not happened():
            now_ns, end_ns = monotonic_ns(), due_ns()
            left_s = seconds - (now_ns - (self.last_event_ns if quiet else start_ns)) / 1e9
            if end_ns is not None:
                left_s = min(left_s, (end_ns - now_ns) / 1e9)
            expired_ns = (expired_ns or now_ns) if left_s <= 0 else 0
            if expired_ns and self.has_read_until(expired_ns):
                return False
            changed.clear()
            try:
                async with asyncio.timeout(left_s if left_s > 0 else POLL_S):
                    await changed.wait()
            except TimeoutError:
                continue
        return True

    def wake(self) -> None:
        """Let every `until` check its condition again."""
        for key in self._waiters:
            self._wake(key)

    def _wake(self, key: str | None) -> None:
        for changed in self._waiters.get(key, ()):
            changed.set()

    def mark_gap(self, why: str) -> None:
        """Mark that events of every unsettled request may be missing in the journal."""
        self.remarks[why] = None
        for trace in [trace for trace in self.live.values() if trace.witnesses.journal and not trace.settled]:
            trace.witnesses.gap = why
            self.update(trace)

    def mark_cut_processes(self) -> None:
        """Mark a gap if a server process could not write its last events, and has left a sign of it."""
        signs = loss_signs(self.journal)
        if signs - self._old_signs and self.gap is None:  # otherwise the reason is known
            self._old_signs |= signs
            self.mark_gap("a server process could not write its last events, for example because the disk was full")

    def _release(self) -> None:
        """Complete the held requests whose texts without an id can no longer move to another request.

        Such a text may belong to any request that was running when it was written. It may move from one request to
        another until all of these are settled. Up to `MAX_HELD` requests wait until every request is settled that was
        sent before the last of them finished. Under load that never happens: then texts are assigned by the first
        match, and a request waits only for those that were sent before it finished itself.
        """
        if len(self._held) > MAX_HELD and not self._attribution.first_match:
            self._attribution.use_first_match()
        oldest_ns = next((sent_ns for trace in self._open.values() if (sent_ns := trace.time("request_sent"))), None)
        newest_ns = None
        if not self._attribution.first_match:
            newest_ns = max(
                (done_ns for done_ns, _, trace in self._held if trace.request_id in self.live), default=None
            )
        while self._held and (oldest_ns is None or oldest_ns >= (newest_ns or self._held[0][0])):
            self._finish(heappop(self._held)[-1])

    def _finish(self, trace: Trace) -> None:
        if self.live.pop(trace.request_id, None) is not None:
            self._on_done(trace)
            self._attribution.remove(trace)
            self._second_look.remove(trace)
            self._to_look.pop(trace.request_id, None)
            self._looked.pop(trace.request_id, None)
            self._found.pop(trace.request_id, None)
            self._wake(trace.request_id)

    def _handle_notice(self, notice: Notice) -> None:
        if notice.kind == "polling":
            self.remarks[notice.message] = None
        if notice.kind in ("refused", "skipped"):
            self.remarks[f"{notice.path}: {notice.message}"] = None
        if notice.kind == "skipped":
            self.mark_gap("a part of the server's journal was deleted before it was read")
        path = str(notice.path)
        if notice.kind in ("missing", "appeared", "replaced"):
            self._see(notice, path)
        if notice.kind in ("truncated", "replaced"):
            if notice.path == self.journal:
                self._lines = JournalLines()
                if notice.kind == "truncated":
                    self.mark_gap("the server's journal was truncated or rewritten during the run")
                return
            self._attribution.restarted(path)
            self.seen.restarted(notice.path)
            self._disturb(path, "replaced" if notice.kind == "replaced" else "rewritten")

    def _see(self, notice: Notice, path: str) -> None:
        """Add that a file exists, or does not, to each request that expects its creation or deletion."""
        detail = {"file": path, "exists": notice.kind != "missing", "replaced": notice.kind == "replaced"}
        for trace in list(self.live.values()):
            if any(write.change and write.file == path for write in trace.expected.writes):
                trace.events.append(Event(notice.t_ns, "file", FILE_SEEN, trace.request_id, detail))
                find_changes(trace)
                self.update(trace)

    def _read_journal(self, item: Appended) -> None:
        for line in self._lines.feed(item.data, item.file):
            event = read_journal_line(line)
            if event is None:
                continue
            if event.name == LOST:
                self.mark_gap("the server could not write its journal for a while (see its log)")
            if event.name == "recording_started":
                self._processes.start(event)
                self.wake()
            if (place := BlockedPlace.of(event)) is not None:
                self.blocked.add([place])
                continue
            trace = self.live.get(event.request_id or "")
            if trace is None:
                continue
            if event.detail.get("boot") != boot_id() and event.detail.get("server", "").startswith(boot_id()):
                self.remarks["a worker runs under another boot: its times cannot be compared with the server's"] = None
            elif event.detail.get("boot") != boot_id():
                self.remarks[
                    "the server runs on another host: its events are ignored, since its clock is different"
                ] = None
                continue
            trace.events.append(event)
            if event.name in LOOKS:
                find_changes(trace)
            if trace.request_id in self._open and trace.progresses(event):  # not a probe
                self.last_event_ns = monotonic_ns()
            if event.name == "request_finished" or (event.name.startswith("task_") and "files" in event.detail):
                sizes = event.detail.get("files") or {}
                none = dict.fromkeys(map(str, self.files), 0) if self._has_all_sizes else {}
                self._attribution.finished(trace, none | sizes)
            self.update(trace)
