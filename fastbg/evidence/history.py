"""What a finished journal tells: each request, and the sums over all of them. Pure: it is told event after event.

The server is the only witness here. Nobody saw the client or a file, so the verdict of a request rests on the order
of moments in one process, and times count from the moment that process received the request.

Memory does not grow with the journal: kept are the requests that are not done yet (`MAX_HELD` bytes of journal at
most), the last few, and counts.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from fastbg.events import LOST, Event, Verdict
from fastbg.evidence.distribution import Distribution
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.tasks import tasks_of
from fastbg.evidence.verdict import SentResponse, judge_recorded

MAX_HELD = 16 * 2**20  # bytes of the lines that tell of requests which are not done
MAX_TASKS = 100  # tasks of one request that are kept when it is done
MAX_PROCESSES = 10_000  # that are told apart
LATEST_NS = 2**63  # no clock counts further: a larger time is no time

REUSED = "its id was used again before it was done: the journal cannot tell the two apart"
SKIPPED = "a part of the journal that may tell its end was deleted"
GAP = "the server could not write its journal for a while"
GIVEN_UP = "too much was open at once: what the journal tells of it later was not looked at"

_ENDS = ("task_finished", "task_failed", "task_dropped")
_TOLD = {"task_queued", "task_started", "task_retried", "loop_blocked", *_ENDS}  # of a task
_KNOWN = {*_TOLD, "response_sent", "response_lost", "request_finished"}

Key = tuple[str, str | None]  # boot and process of the server, and the request


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """A whole journal.

    ``events``: lines that are events. ``lost``: events that could not be written. ``foreign``: other lines (torn, or
    another program's). ``strays``: events of requests whose beginning is not there. ``skipped_parts``: of the journal,
    that were deleted. ``boots`` and ``processes``: how many wrote it. ``requests``: how many there were, ``counts`` of
    them by verdict. ``unfinished``: requests that were not done when the journal ended. ``responses``: from received to
    response sent. ``works``: from start to end of each task. ``last``: the last requests in the order in which they
    were received.
    """

    events: int
    lost: int
    foreign: int
    strays: int
    skipped_parts: int
    boots: int
    processes: int
    requests: int
    unfinished: int
    counts: Mapping[Verdict, int]
    responses: Distribution
    works: Distribution
    last: tuple[RecordedRequest, ...]


@dataclass(slots=True, eq=False)
class _Open:
    """A request that is not done: its events of tasks, the numbers of those that run or that a worker is to run, and
    the bytes that its lines take.
    """

    request: RecordedRequest
    size: int
    events: list[Event] = field(default_factory=list)
    running: set[int] = field(default_factory=set)


class JournalAggregator:
    """Takes the events of a journal in the order of its lines; keeps the ``last`` few requests."""

    def __init__(self, last: int) -> None:
        self.foreign = 0
        self._skipped = 0
        self._events = 0
        self._lost = 0
        self._strays = 0
        self._requests = 0
        self._held = 0
        self._processes: set[tuple[str, int]] = set()
        self._open: dict[Key, _Open] = {}
        self._counts: dict[Verdict, int] = dict.fromkeys(get_args(Verdict), 0)
        self._responses = Distribution()
        self._works = Distribution()
        self._last: deque[RecordedRequest] = deque(maxlen=last)

    def add(self, event: Event, size: int) -> None:
        """Take an event that a line of ``size`` bytes told."""
        if not 0 <= event.t_ns < LATEST_NS:
            self.foreign += 1
            return
        self._events += 1
        detail = event.detail
        if event.name == LOST:
            self._lost += detail.get("count", 0)
            for each in self._open.values():  # of other processes, too: their tasks may be with this one
                each.request.server.flaw = GAP
            return
        server = detail.get("server") or f"{detail['boot']}/{detail['pid']}"  # which a worker names
        key = (server, event.request_id)
        if event.name == "request_received" and event.request_id is not None:
            self._begin(key, event, size)
            return
        entry = self._open.get(key)
        if entry is None:
            of_none = event.request_id is None and detail.get("where") == "worker"
            self._strays += event.name != "shutdown" and not of_none  # which are of no request
        elif event.name in _KNOWN:
            self._held += size
            entry.size += size
            self._take(key, entry, event)
            if self._held > MAX_HELD:
                oldest = next(iter(self._open))
                self._open[oldest].request.server.flaw = GIVEN_UP
                self._close(oldest)

    def skip(self, parts: int) -> None:
        """So many parts of the journal are missing here: what is open by now may have ended there."""
        self._skipped += parts
        for key in list(self._open) if parts else ():
            self._open[key].request.server.flaw = SKIPPED
            self._close(key)

    def summary(self) -> JournalSummary:
        """What the journal tells, now that it has ended."""
        unfinished = len(self._open)
        for key in list(self._open):
            self._close(key)
        return JournalSummary(
            events=self._events,
            lost=self._lost,
            foreign=self.foreign,
            strays=self._strays,
            skipped_parts=self._skipped,
            boots=len({boot for boot, _ in self._processes}),
            processes=len(self._processes),
            requests=self._requests,
            unfinished=unfinished,
            counts=dict(self._counts),
            responses=self._responses,
            works=self._works,
            last=tuple(self._last),
        )

    def _begin(self, key: Key, event: Event, size: int) -> None:
        detail = event.detail
        boot, pid = detail["boot"], detail["pid"]
        if len(self._processes) < MAX_PROCESSES:
            self._processes.add((boot, pid))
        request = RecordedRequest(
            request_id=event.request_id or "",
            boot=boot,
            pid=pid,
            method=detail.get("method", "?"),
            path=detail.get("path", "?"),
            received_ns=event.t_ns,
            wall_ns=detail["wall_ns"],
        )
        if key in self._open:
            self._open[key].request.server.flaw = request.server.flaw = REUSED
            self._close(key)
        self._open[key] = _Open(request, size)
        self._held += size
        self._requests += 1
        self._last.append(request)

    def _take(self, key: Key, entry: _Open, event: Event) -> None:
        server, detail, name = entry.request.server, event.detail, event.name
        if name in _TOLD:
            entry.events.append(event)
            if name in ("task_queued", "task_started"):
                entry.running.add(detail["n"])
            elif name in _ENDS:
                entry.running.discard(detail["n"])
        elif name == "response_sent":
            server.status, server.sent = detail.get("status"), SentResponse.of(event)
        elif name == "response_lost":
            server.status, server.client_gone = detail.get("status"), True
        else:
            server.finished, server.error = True, detail.get("error")
        if server.finished and not entry.running:  # a thread may outlive the call that started it, a worker does
            self._close(key)

    def _close(self, key: Key) -> None:
        entry = self._open.pop(key)
        self._held -= entry.size
        request, tasks = entry.request, tasks_of(entry.events)
        request.judgement = judge_recorded(request.server, tasks)
        request.tasks, request.more_tasks = tasks[:MAX_TASKS], max(len(tasks) - MAX_TASKS, 0)
        self._counts[request.judgement.verdict] += 1
        if (sent := request.server.sent) is not None:
            self._responses.add(sent.sent_ns - request.received_ns)
        for task in tasks:
            if task.started_ns is not None and task.ended_ns is not None:
                self._works.add(task.ended_ns - task.started_ns)
