"""What a finished journal tells: each request, and the sums over all of them. Pure: it is told event after event.

The server is the only witness here. Nobody saw the client or a file, so the verdict of a request rests on the order
of moments in one process, and times count from the moment that process received the request.

Memory does not grow with the journal: kept are the requests that are not done yet (`MOST_HELD` bytes of journal at
most), the last few, and counts.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, floor, log
from typing import get_args

from fastbg.events import LOST, Event, Verdict
from fastbg.judge import Judgement
from fastbg.tasks import Task, tasks_of

MOST_HELD = 16 * 2**20  # bytes of the lines that tell of requests which are not done
MOST_TASKS = 100  # tasks of one request that are kept when it is done
MOST_PROCESSES = 10_000  # that are told apart
LATEST_NS = 2**63  # no clock counts further: a larger time is no time

UNFINISHED = "the journal ends before that"
ELSEWHERE = "a worker under another boot ran it, whose clock is not compared with the server's"
REUSED = "its id was used again before it was done: the journal cannot tell the two apart"
SKIPPED = "a part of the journal that may tell its end was deleted"
GAP = "the server could not write its journal for a while"
GIVEN_UP = "too much was open at once: what the journal tells of it later was not looked at"

_ENDS = ("task_finished", "task_failed", "task_dropped")
_TOLD = {"task_queued", "task_started", "task_retried", "loop_blocked", *_ENDS}  # of a task
_KNOWN = {*_TOLD, "response_sent", "response_lost", "request_finished"}

Key = tuple[str, str | None]  # boot and process of the server, and the request


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request as a server process told of it, complete when `Historian` has judged it.

    ``received_ns``, ``sending_ns``, ``sent_ns``: monotonic, of the boot ``boot``; the last byte of the response was
    handed over between the last two. ``wall_ns``: when it was received, by the calendar.
    ``status``: of a response that was sent, or that nobody was there to take. ``finished``: the app's call ended;
    ``error``: what it raised, or empty. ``more_tasks``: how many there were beside ``tasks``. ``flaw``: why the events
    prove nothing, or empty.
    """

    request_id: str
    boot: str
    pid: int
    method: str
    path: str
    received_ns: int
    wall_ns: int
    status: int | None = None
    sending_ns: int | None = None
    sent_ns: int | None = None
    buffered: int | None = None
    client_gone: bool = False
    finished: bool = False
    error: str = ""
    flaw: str = ""
    tasks: Sequence[Task] = ()
    more_tasks: int = 0
    judgement: Judgement = Judgement("unproven", (), UNFINISHED)  # noqa: RUF009  # frozen

    is_over = True
    part = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def ms(self, t_ns: int | None) -> float | None:
        """A monotonic time of the same boot, in milliseconds from the moment the server received the request."""
        return None if t_ns is None else (t_ns - self.received_ns) / 1e6

    @property
    def response_ms(self) -> float | None:
        """When the server had sent the response."""
        return self.ms(self.sent_ns)

    @property
    def done_ms(self) -> float | None:
        """When the last of its tasks had ended."""
        return self.ms(max((task.ended_ns for task in self.tasks if task.ended_ns is not None), default=None))

    @property
    def spans_ms(self) -> list[tuple[float, float | None]]:
        """From when to when each task ran."""
        return [
            (started, self.ms(task.ended_ns))
            for task in self.tasks
            if (started := self.ms(task.started_ns)) is not None
        ]

    @property
    def writes_ms(self) -> Sequence[float]:
        """Nobody saw any."""
        return ()


def judge_recorded(request: RecordedRequest, tasks: Sequence[Task]) -> Judgement:
    """The verdict of a request from what its server told, ``tasks`` included."""
    if request.flaw:
        return Judgement("unproven", (), request.flaw)
    for state in ("failed", "dropped"):
        hit = [task for task in tasks if task.state == state]
        if hit:
            return Judgement(state, ("server",), "; ".join(f"{task.name} {state}: {_why(task)}" for task in hit))
    open_tasks = [task for task in tasks if task.state in ("queued", "started")]
    if open_tasks:
        told = "; ".join(f"{task.name} {task.state}, never finished" for task in open_tasks)
        return Judgement("lost", ("server",), f"{told} ({request.error or UNFINISHED})")
    if not tasks:
        if not request.finished:
            return Judgement("unproven", (), f"was not done: {UNFINISHED}")
        raised = f"; the app raised {request.error}" if request.error else ""
        return Judgement("no-work", ("server",), f"nothing was queued{raised}")
    return _order(request, tasks)


def _why(task: Task) -> str:
    return task.error or task.reason or "no reason given"


def _order(request: RecordedRequest, tasks: Sequence[Task]) -> Judgement:
    """What came first, where all of the work was done."""
    sent_ns = request.sent_ns
    if sent_ns is None:
        gone = "the client had gone before the response was sent"
        return Judgement("unproven", (), gone if request.client_gone else "the journal tells of no response")
    sending_ns = request.sending_ns or 0
    early = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sending_ns]
    if early:
        witness = "server+worker" if _by_workers(tasks) else "server"
        return Judgement("work-first", (witness,), f"{', '.join(early)} finished before the response was sent")
    if any(task.elsewhere for task in tasks):
        return Judgement("unproven", (), ELSEWHERE)
    if not all(task.started_ns is not None and task.started_ns > sent_ns for task in tasks):
        return Judgement("unproven", (), "a task started before the response was sent, and ended after it")
    if request.buffered is None:
        return Judgement("unproven", (), "the server could not tell whether all of the response had left")
    if request.buffered:
        return Judgement("unproven", (), "the server still held a part of the response when the task started")
    return Judgement("response-first", ("server+worker" if _by_workers(tasks) else "server",))


def _by_workers(tasks: Sequence[Task]) -> bool:
    return any(task.where == "worker" for task in tasks)


class Distribution:
    """Counts nanoseconds in classes that are 1 % wide; count, least and most are exact, percentiles to 0.5 %."""

    STEP = log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self.least_ns: int | None = None
        self.most_ns: int | None = None
        self._classes: dict[int, int] = {}

    def add(self, value_ns: int) -> None:
        """Count a time. One below 1 ns, where a clock was turned back, is in the lowest class."""
        at = floor(log(value_ns) / self.STEP) if value_ns > 0 else -1
        self._classes[at] = self._classes.get(at, 0) + 1
        self.count += 1
        if self.least_ns is None or value_ns < self.least_ns:
            self.least_ns = value_ns
        if self.most_ns is None or value_ns > self.most_ns:
            self.most_ns = value_ns

    def percentile_ms(self, share: float) -> float | None:
        """The nearest-rank percentile (``share`` from 0 to 1) in milliseconds, or None without any times."""
        if self.least_ns is None or self.most_ns is None:
            return None
        if share in (0, 1):
            return (self.most_ns if share else self.least_ns) / 1e6
        left = share * self.count
        for at in sorted(self._classes):
            left -= self._classes[at]
            if left <= 0:
                break
        middle_ns = exp((at + 0.5) * self.STEP)
        return min(max(middle_ns, self.least_ns), self.most_ns) / 1e6


@dataclass(frozen=True, slots=True)
class History:
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


class Historian:
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
                each.request.flaw = GAP
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
            if self._held > MOST_HELD:
                oldest = next(iter(self._open))
                self._open[oldest].request.flaw = GIVEN_UP
                self._close(oldest)

    def skip(self, parts: int) -> None:
        """So many parts of the journal are missing here: what is open by now may have ended there."""
        self._skipped += parts
        for key in list(self._open) if parts else ():
            self._open[key].request.flaw = SKIPPED
            self._close(key)

    def history(self) -> History:
        """What the journal tells, now that it has ended."""
        unfinished = len(self._open)
        for key in list(self._open):
            self._close(key)
        return History(
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
        if len(self._processes) < MOST_PROCESSES:
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
            self._open[key].request.flaw = request.flaw = REUSED
            self._close(key)
        self._open[key] = _Open(request, size)
        self._held += size
        self._requests += 1
        self._last.append(request)

    def _take(self, key: Key, entry: _Open, event: Event) -> None:
        request, detail, name = entry.request, event.detail, event.name
        if name in _TOLD:
            entry.events.append(event)
            if name in ("task_queued", "task_started"):
                entry.running.add(detail["n"])
            elif name in _ENDS:
                entry.running.discard(detail["n"])
        elif name == "response_sent":
            request.status, request.sent_ns = detail.get("status"), event.t_ns
            request.sending_ns, request.buffered = detail.get("sending_ns"), detail.get("buffered")
        elif name == "response_lost":
            request.status, request.client_gone = detail.get("status"), True
        else:
            request.finished, request.error = True, detail.get("error", "")
        if request.finished and not entry.running:  # a thread may outlive the call that started it, a worker does
            self._close(key)

    def _close(self, key: Key) -> None:
        entry = self._open.pop(key)
        self._held -= entry.size
        request, tasks = entry.request, tasks_of(entry.events)
        request.judgement = judge_recorded(request, tasks)
        request.tasks, request.more_tasks = tasks[:MOST_TASKS], max(len(tasks) - MOST_TASKS, 0)
        self._counts[request.judgement.verdict] += 1
        if request.sent_ns is not None:
            self._responses.add(request.sent_ns - request.received_ns)
        for task in tasks:
            if task.started_ns is not None and task.ended_ns is not None:
                self._works.add(task.ended_ns - task.started_ns)
