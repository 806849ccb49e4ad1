"""The live page: what `fastbg tail` reads, as messages for the script of the page."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fastbg.clock import monotonic_ns
from fastbg.events import LOST, Event, Notice, boot_id
from fastbg.evidence.activity import ActiveRequest, ActiveTask
from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.live_requests import LiveRequests
from fastbg.evidence.trace import Write
from fastbg.follow.lines import Piece
from fastbg.page.document import MAX_KEPT, document, json_data, view
from fastbg.page.markup import Markup, element
from fastbg.page.progress import PageProgress, ReadingDelay
from fastbg.page.rows import encoded, row_of_record
from fastbg.report.delays import blocked_places
from fastbg.report.lines import Entry, Sighting
from fastbg.report.moments import of_this_boot, wall_ns_of, wall_ns_of_event
from fastbg.report.timelines import JOURNAL_LEGEND
from fastbg.text import escape_control

BATCH_S = 0.1  # between two messages
MAX_BATCH = 500  # requests of a message: more follow at once
MAX_NOTICES = 50
CHECK_S = 1.0  # between two looks at the processes with unfinished requests
QUIET_S = 10.0  # after this time without news a message is sent, so that a page notices a lost connection
LIVE_LEGEND = replace(JOURNAL_LEGEND, write="write seen", open="still runs")


class LiveFeed:
    """Takes what a `JournalStream` reads, and keeps the last requests for any number of pages."""

    def __init__(self) -> None:
        self.requests = LiveRequests(MAX_KEPT)
        self._start_ns = monotonic_ns()
        self._delay = ReadingDelay(self._start_ns)
        self._notices: deque[tuple[float | None, str]] = deque(maxlen=MAX_NOTICES)
        self._noticed = 0  # number of notices so far
        self._closing = asyncio.Event()

    def event(self, entry: Entry, *, last: bool) -> None:
        event = entry.event
        was_before = event.name == "recording_started" and not (of_this_boot(event) and event.t_ns >= self._start_ns)
        self.requests.add(event, len(str(event.detail)))
        if of_this_boot(event):
            self._delay.add(event.t_ns, monotonic_ns())
        if (text := _notice_of(event)) and not was_before:
            self._notify(text, wall_ns_of_event(event))

    def piece(self, path: Path, piece: Piece, sighting: Sighting | None) -> None:
        if sighting is None or sighting.writer is None:
            return
        write = Write(str(path), piece.text, sighting.t_ns, piece.offset, sighting.end - piece.offset)
        self.requests.add_write(sighting.writer.pid, boot_id(), sighting.writer.request_id, write)

    def notice(self, notice: Notice) -> None:
        if notice.kind not in ("missing", "appeared"):
            self._notify(f"{notice.path.name} {notice.message}", wall_ns_of(notice.t_ns))

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        self._notify(
            f"{path.name} has a line that is not an event: {text[:100]}",
            None if seen_ns is None else wall_ns_of(seen_ns),
        )

    def overdue(self, request: ActiveRequest, task: ActiveTask | None, now_ns: int) -> None:
        """Ignore it: the page shows how long each request has been running."""

    def lost(self, request: ActiveRequest, now_ns: int) -> None:
        """End the requests of a process whose start was not read, too: `watch` cannot look at that one."""
        self.requests.end_of_process(request.pid)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """End the messages to all pages."""
        self._closing.set()

    async def watch(self) -> None:
        """End the requests of processes that are gone, until `close`."""
        while not await self._closes_within(CHECK_S):
            self.requests.end_of_processes()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield server-sent events: first all requests in batches, then what changes, until `close`.

        A page that is behind gets only the last state of each request.
        """
        version, noticed, behind, is_first, quiet_s = 0, -1, 0, True, 0.0
        progress = PageProgress(self._read_ns(), self.requests.version, self._read_ns())
        while not self._closing.is_set():
            began_ns = monotonic_ns()
            changes = self.requests.changes(version, MAX_BATCH)
            version = changes[-1].version if changes else version
            is_all, latest = len(changes) < MAX_BATCH, self.requests.version
            progress.sent(version, is_all=is_all, latest=latest, read_ns=self._read_ns())
            was_behind, behind = behind, progress.behind_ms(began_ns)
            if changes or behind != was_behind or noticed != self._noticed or is_first or quiet_s >= QUIET_S:
                message: dict[str, object] = {"now": monotonic_ns() / 1e6, "total": self.requests.total}
                message |= {"first": True, "feed": str(self._start_ns)} if is_first else {}
                message |= {"behind": behind} if behind else {}
                message |= {"notices": [*self._notices]} if noticed != self._noticed else {}
                message |= encoded(row_of_record(each.request, str(each.number)) for each in changes)
                noticed, is_first, quiet_s = self._noticed, False, 0.0  # before a slow page makes it wait
                yield b"data: %s\n\n" % json_data(message).encode()
            # The journal is read meanwhile: for half of the time, also if there is more to send.
            pause_s = BATCH_S if is_all else min((monotonic_ns() - began_ns) / 1e9, BATCH_S)
            await self._closes_within(pause_s)
            quiet_s += pause_s

    def _read_ns(self) -> int:
        """Return until when all that was recorded has been read."""
        now_ns = monotonic_ns()
        return now_ns - self._delay.at(now_ns)

    async def _closes_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        return self._closing.is_set()

    def _notify(self, text: str, wall_ns: int | None) -> None:
        self._notices.appendleft((None if wall_ns is None else wall_ns / 1e6, escape_control(text)))
        self._noticed += 1


def _notice_of(event: Event) -> str:
    """Return what an event says about the server, empty if it is about a request."""
    detail = event.detail
    if event.name == "shutdown":
        return f"server process {detail['pid']} shuts down; unfinished tasks: {detail.get('unfinished', 0)}"
    if event.name == LOST:
        return f"{detail.get('count', '?')} events could not be written to the journal: requests may be missing"
    if event.name == "recording_started":
        return f"server process {detail['pid']} records"
    if (place := BlockedPlace.of(event)) is not None:
        return next(blocked_places([place]))
    return ""


def live_page(directory: Path) -> str:
    """Return the page; its script asks for the messages. ``directory``: the data folder."""
    status = element("span", "connecting", data_status=True)
    return document(
        f"{directory.name} – fastbg tail",
        [
            element("a", "To the requests", href="#requests", class_="skip"),
            element("p", element("code", "fastbg tail --web"), f"  {directory}: ", status, class_="quiet"),
            element("h1", "What the server does now"),
            element(
                "div",
                _panel("running", "Running now"),
                _panel("problems", "Failed, dropped, lost or unproven"),
                _panel("notices", "About the server"),
                class_="panels",
            ),
            element("div", view([], LIVE_LEGEND, live=True), id="requests", tabindex="-1"),
        ],
    )


def _panel(name: str, title: str) -> Markup:
    heading = element("h2", f"{title}: ", element("span", "0", class_="number"))
    return element("section", heading, element("ul", tabindex="0"), class_="empty", data_panel=name)
