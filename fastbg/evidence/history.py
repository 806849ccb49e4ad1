"""Summarizes a finished journal: its last requests and the totals of all requests. Pure: the caller adds the events.

The server is the only witness here: there is no evidence from the client or the files. The verdict of a request depends
on the order of times in one process. Times are relative to the moment at which that process received the request.

Memory does not grow with the journal: it holds the unfinished requests (at most `MAX_HELD` bytes of journal), the last
requests, and counts.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

from fastbg.events import LOST, Event, Verdict
from fastbg.evidence.blocked_places import BlockedPlace, BlockedPlaces
from fastbg.evidence.distribution import Distribution
from fastbg.evidence.processes import Processes, ProcessState, RecordedProcess, key_of
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.tasks import Task, tasks_of
from fastbg.evidence.verdict import SentResponse, judge_recorded, why_not_sent
from fastbg.evidence.worker_events import Key, WorkerEvents
from fastbg.recorder.request_ids import is_probe

MAX_HELD = 16 * 2**20  # bytes of journal lines of unfinished requests
MAX_TASKS = 100  # kept tasks of a finished request
MAX_COUNTED = 10_000  # processes
MAX_HOSTS = 1000  # that are named
MAX_T_NS = 2**63  # larger than any clock value: the line is not an event

REUSED = "its id was used again before it was done: the journal cannot distinguish the two requests"
SKIPPED = "a part of the journal was deleted, and the end of the request may be in it"
GAP = "the server could not write its journal for a while"
GIVEN_UP = "too many requests were unfinished at the same time: later events of this request were not read"

_ENDS = ("task_finished", "task_failed", "task_dropped")
_TASK_EVENTS = {"task_queued", "task_started", "task_retried", "loop_blocked", *_ENDS}
_KNOWN = {*_TASK_EVENTS, "response_sent", "response_held", "response_lost", "request_finished"}


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """Represents a whole journal, or several journals that `fastbg.evidence.journals.merge` has merged.

    ``journal``: its name; empty if merged. ``hosts``: of its servers and workers, as far as the journal has them.
    ``journals``: the merged ones, each without its requests. ``events``: number of lines that are events. ``lost``:
    events that could not be written. ``foreign``: other lines (incomplete, or of another program). ``strays``: events
    of requests whose start is missing. ``skipped_parts``: deleted parts of the journal.
    ``cut_processes``: those that could not write their last events. ``processes``: number of server
    processes; ``boots``: theirs. ``requests``: number of requests; ``counts``: by verdict. ``unfinished``: requests
    that were not finished when the journal ended; ``shut_down``: those of them whose server no longer waited for them.
    ``responses``: times from the request to the sent response. ``works``: times from start to end of each task.
    ``blocked``: what blocked the event loop outside of tasks. ``left``: the processes with unfinished requests.
    ``last``: the last requests in the order in which they were received. Probes (`fastbg.recorder.request_ids`) are not
    counted.
    """

    journal: str
    hosts: frozenset[str]
    events: int
    lost: int
    foreign: int
    strays: int
    skipped_parts: int
    cut_processes: int
    boots: frozenset[str]
    processes: int
    requests: int
    unfinished: int
    shut_down: int
    counts: Mapping[Verdict, int]
    responses: Distribution
    works: Distribution
    blocked: tuple[BlockedPlace, ...]
    last: tuple[RecordedRequest, ...]
    left: tuple[RecordedProcess, ...] = ()
    journals: tuple["JournalSummary", ...] = ()


@dataclass(slots=True, eq=False)
class OpenRequest:
    """An unfinished request.

    ``size``: bytes of its journal lines. ``events``: its task events. ``running``: numbers of the tasks that run, or
    that are queued. ``process``: of its server. ``shut_down``: its server has shut down and no longer waits for it.
    """

    request: RecordedRequest
    size: int
    process: RecordedProcess
    events: list[Event] = field(default_factory=list)
    running: set[int] = field(default_factory=set)
    shut_down: bool = False

    @property
    def in_worker(self) -> bool:
        """Whether a task is in a queue, or in a worker."""
        return any(event.detail.get("where") == "worker" for event in self.events)


class JournalListener(Protocol):
    """Gets what a journal has, at once."""

    def closed(
        self, request: RecordedRequest, tasks: Sequence[Task], events: Sequence[Event], process: RecordedProcess
    ) -> None:
        """Take a judged request with all its tasks, and the events that are about them. ``process``: of its server."""

    def blocked(self, event: Event, process: RecordedProcess) -> None:
        """Take an event of code outside of tasks that blocked the event loop of ``process``."""


class JournalAggregator:
    """Aggregates the events of a journal in the order of its lines; keeps the ``last`` requests.

    ``journal``: its name. ``elsewhere``: takes the events of workers whose server writes another journal. ``state_of``:
    whether a process that has left something unfinished still runs.
    """

    def __init__(
        self,
        last: int,
        journal: str = "",
        elsewhere: WorkerEvents | None = None,
        state_of: Callable[[RecordedProcess], ProcessState] = lambda _: None,
        listener: JournalListener | None = None,
    ) -> None:
        self._left = Processes(state_of)
        self.foreign = 0
        self._journal = journal
        self._elsewhere = elsewhere
        self._listener = listener
        self._skipped = 0
        self._cut = 0
        self._events = 0
        self._probes = 0  # events of probes
        self._lost = 0
        self._strays = 0
        self._requests = 0
        self._unfinished = 0
        self._shut_down = 0
        self._held = 0
        self._hosts: set[str] = set()
        self._processes: set[tuple[str | None, str, int]] = set()
        self._open: dict[Key, OpenRequest] = {}
        self._counts: dict[Verdict, int] = dict.fromkeys(get_args(Verdict), 0)
        self._responses = Distribution()
        self._works = Distribution()
        self._blocked = BlockedPlaces()
        self._last: deque[RecordedRequest] = deque(maxlen=last)

    def add(self, event: Event, size: int) -> None:
        """Add an event from a line of ``size`` bytes."""
        t_ns, _, name, request_id, detail = event
        if not 0 <= t_ns < MAX_T_NS:
            self.foreign += 1
            return
        self._events += 1
        key = (detail.get("server") or f"{detail['boot']}/{detail['pid']}", request_id)
        entry = self._open.get(key)
        if entry is None or name not in _KNOWN or "place" in detail:
            self._add_other(key, event, size)
            return
        if "server" in detail:  # only a worker names its server
            self._host(detail)
        self._held += size
        entry.size += size
        self._record(key, entry, event)
        if self._held > MAX_HELD:
            oldest = next(iter(self._open))
            self._open[oldest].request.server.flaw = GIVEN_UP
            self._close(oldest)

    def _add_other(self, key: Key, event: Event, size: int) -> None:
        """Add an event that is not one of an unfinished request."""
        detail, server = event.detail, key[0]
        if event.name == LOST:
            self._lost += detail.get("count", 0)
            self._doubt_open()
            return
        if is_probe(event.request_id):
            self._probes += 1
            return
        if detail.get("server"):
            self._host(detail)
        if event.name == "recording_started":
            self._left.start(event)
        elif event.name == "shutdown":
            self._shut_down_server(server, event)
        elif (place := BlockedPlace.of(event)) is not None:
            self._blocked.add([place])
            if self._listener is not None:
                self._listener.blocked(event, self._left.of(key_of(detail)))
        elif event.name == "request_received" and event.request_id is not None:
            self._start(key, event, size)
        elif key not in self._open:
            without_request = event.request_id is None and detail.get("where") == "worker"
            if self._elsewhere is not None and "server" in detail and event.request_id is not None:
                self._elsewhere.add(key, event, size, too_many=GIVEN_UP)
            else:
                self._strays += not without_request

    def skip(self, parts: int) -> None:
        """Skip ``parts`` deleted parts of the journal: the unfinished requests may have ended there."""
        self._skipped += parts
        for key in list(self._open) if parts else ():
            self._open[key].request.server.flaw = SKIPPED
            self._close(key)
        if parts and self._elsewhere is not None:
            self._elsewhere.flaw = SKIPPED

    def cut(self, processes: int) -> None:
        """Say that ``processes`` could not write their last events, which may be those of any unfinished request."""
        self._cut = processes
        if processes:
            self._doubt_open()

    def _doubt_open(self) -> None:
        """Note that events of any unfinished request may be missing, also of other processes, which run their tasks."""
        for entry in self._open.values():
            entry.request.server.flaw = GAP
        if self._elsewhere is not None:
            self._elsewhere.flaw = GAP

    @property
    def only_foreign(self) -> bool:
        """Whether there are lines, and none is an event."""
        return self.foreign > 0 and not self._events

    @property
    def unfinished(self) -> Sequence[Key]:
        return list(self._open)

    def end(self) -> None:
        """Close the unfinished requests at the end of the journal, except those that may wait for a worker."""
        for key, entry in list(self._open.items()):
            if not entry.in_worker:
                self._end(key, entry)

    def adopt(self, key: Key, workers: WorkerEvents) -> None:
        """Add to an unfinished request what ``workers`` has of it. If its end may be missing there, it is not lost."""
        entry = self._open[key]
        for event in workers.take(key):
            if key in self._open:
                self._record(key, entry, event)
        if key in self._open:
            entry.request.server.flaw = entry.request.server.flaw or workers.flaw

    def refuse(self, key: Key) -> None:
        """Mark an unfinished request as one that another journal has too: events of workers may belong to either."""
        self._open[key].request.server.flaw = REUSED

    def summary(self) -> JournalSummary:
        """Close all requests and summarize the journal."""
        for key, entry in list(self._open.items()):
            self._end(key, entry)
        return JournalSummary(
            journal=self._journal,
            hosts=frozenset(self._hosts),
            events=self._events - self._probes,
            lost=self._lost,
            foreign=self.foreign,
            strays=self._strays,
            skipped_parts=self._skipped,
            cut_processes=self._cut,
            boots=frozenset(boot for _, boot, _ in self._processes),
            processes=len(self._processes),
            requests=self._requests,
            unfinished=self._unfinished,
            shut_down=self._shut_down,
            counts=dict(self._counts),
            responses=self._responses,
            works=self._works,
            blocked=self._blocked.all(),
            last=tuple(self._last),
            left=self._left.unfinished(),
        )

    def _host(self, detail: Mapping[str, Any]) -> str | None:
        host: str | None = detail.get("host") or None
        if host is not None and len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        return host

    def _start(self, key: Key, event: Event, size: int) -> None:
        detail = event.detail
        host, boot, pid = self._host(detail), detail["boot"], detail["pid"]
        if len(self._processes) < MAX_COUNTED:
            self._processes.add((host, boot, pid))
        request = RecordedRequest(
            request_id=event.request_id or "",
            journal=self._journal,
            host=host,
            boot=boot,
            pid=pid,
            method=detail.get("method", "?"),
            path=detail.get("path", "?"),
            received_ns=event.t_ns,
            wall_ns=detail["wall_ns"],
            x_request_id=detail.get("x_request_id"),
        )
        if key in self._open:
            self._open[key].request.server.flaw = request.server.flaw = REUSED
            self._close(key)
        self._open[key] = OpenRequest(request, size, self._left.of(key_of(detail)))
        self._held += size
        self._requests += 1
        self._last.append(request)

    def _shut_down_server(self, server: str, event: Event) -> None:
        """Record the shutdown of a process for its unfinished requests, not for those of an earlier one with its id."""
        detail = event.detail
        for (process, _), entry in self._open.items():
            request = entry.request
            is_own = process == server and request.host == (detail.get("host") or None)
            if is_own and request.received_ns >= detail.get("since_ns", 0):
                if request.server.shutdown_ms is None:
                    request.server.shutdown_ms = request.ms(event.t_ns)
                entry.shut_down = not detail.get("waits", False)

    def _end(self, key: Key, entry: OpenRequest) -> None:
        """Close a request that was not finished when the journal ended."""
        self._unfinished += 1
        is_shut_down = entry.shut_down and not entry.in_worker
        self._shut_down += is_shut_down
        entry.request.server.process = self._left.leave(entry.process, len(entry.running), shut_down=is_shut_down)
        self._close(key)

    def _record(self, key: Key, entry: OpenRequest, event: Event) -> None:
        server, name, detail = entry.request.server, event.name, event.detail
        if name in _TASK_EVENTS:
            entry.events.append(event)
            if name in ("task_queued", "task_started"):
                entry.running.add(detail["n"])
            elif name in _ENDS:
                entry.running.discard(detail["n"])
        elif name == "response_sent":
            server.status, server.sent = detail.get("status"), SentResponse.of(event)
        elif name == "response_held":
            server.sent = server.sent and server.sent.looked_at(event)
        elif name == "response_lost":
            server.status, server.not_sent = detail.get("status"), why_not_sent(event)
        else:
            server.finished, server.error = True, detail.get("error")
            entry.request.finished_ns = event.t_ns
        if server.finished and not entry.running:  # tasks in threads and workers outlive the call
            self._close(key)

    def _close(self, key: Key) -> None:
        entry = self._open.pop(key)
        self._held -= entry.size
        request, tasks = entry.request, tasks_of(entry.events)
        request.judgement = judge_recorded(request.server, tasks)
        request.tasks, request.more_tasks = tasks[:MAX_TASKS], max(len(tasks) - MAX_TASKS, 0)
        if self._listener is not None:
            self._listener.closed(request, tasks, entry.events, entry.process)
        self._counts[request.judgement.verdict] += 1
        if (sent := request.server.sent) is not None:
            self._responses.add(sent.left_ns - request.received_ns)
        for task in tasks:
            if task.started_ns is not None and task.ended_ns is not None:
                self._works.add(task.ended_ns - task.started_ns)
