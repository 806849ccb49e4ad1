"""What the requests of a followed journal do now, and which of them wrote a text. Pure: the caller adds the events.

A text in a file has no sender. It is given to a request only if no other request of the journal was active when it was
written: between the arrival of the request and the end of its last task.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from fastbg.events import Event, boot_id
from fastbg.evidence.verdict import SentResponse, why_not_sent
from fastbg.recorder.request_ids import ids_in, uuid_of

KEPT_NS = 5_000_000_000  # how long an ended request is kept: its last write may be seen later
MAX_OPEN = 20_000  # unfinished requests; the oldest ones are forgotten
OVERDUE_NS = 1_000_000_000  # after this time, a missing response or a waiting task is worth a line

_ENDS = ("task_finished", "task_failed", "task_dropped")

Order = Literal["after", "before", "unknown"]


@dataclass(slots=True, eq=False)
class ActiveTask:
    """A background task. ``wrote_ns``: when its last write was seen. Times are monotonic nanoseconds."""

    name: str
    n: int
    queued_ns: int
    where: str | None = None
    started_ns: int | None = None
    runs: bool = False
    ended_ns: int | None = None
    wrote_ns: int | None = None

    @property
    def ended(self) -> bool:
        return self.ended_ns is not None


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """A request, from its arrival to the end of its last task.

    ``number``: counts the requests of the journal. ``not_sent``: why the response was not completely sent.
    ``sizes``: file sizes just before and just after the response was sent. ``last_sizes``: at later events.
    ``error``: the exception that the app raised. ``lost``: its server process ended before it. ``last_ns``: its latest
    event. ``told``: numbers of overdue tasks that were reported, None for the response. ``x_request_id``: the
    header that its client sent.
    """

    number: int
    request_id: str
    pid: int
    method: str
    path: str
    received_ns: int
    this_boot: bool
    status: int | None = None
    response_ns: int | None = None
    sent: SentResponse | None = None
    not_sent: str | None = None
    sizes: tuple[Mapping[str, int], ...] = ({}, {})
    last_sizes: dict[str, int] = field(default_factory=dict)
    finished_ns: int | None = None
    error: str | None = None
    lost: bool = False
    last_ns: int = 0
    open_tasks: int = 0
    failed_tasks: int = 0
    tasks: dict[int, ActiveTask] = field(default_factory=dict)
    told: set[int | None] = field(default_factory=set)
    x_request_id: str | None = None

    @property
    def is_over(self) -> bool:
        return self.lost or (self.finished_ns is not None and not self.open_tasks)

    @property
    def response_ms(self) -> float | None:
        """The milliseconds from the arrival to the end of the response."""
        return None if self.response_ns is None else (self.response_ns - self.received_ns) / 1e6

    def add_write(self, earliest_ns: int, seen_ns: int) -> None:
        """Record a write between two times for the tasks that ran then."""
        for task in self.tasks.values():
            started = task.started_ns is not None and task.started_ns <= seen_ns
            if started and (task.ended_ns is None or task.ended_ns >= earliest_ns):
                task.wrote_ns = seen_ns

    def order_of_write(self, path: str, offset: int, end: int, earliest_ns: int, seen_ns: int) -> Order:
        """Return whether bytes of the file ``path`` were written after the response was sent, or before."""
        if self.response_ns is None:
            return "unknown" if self.finished_ns is not None else "before"
        if earliest_ns > self.response_ns:
            return "after"
        if self.sent is None:
            return "unknown"
        appeared = 0 if path in self.last_sizes else None  # the file did not exist yet
        before, after = (sizes.get(path, appeared) for sizes in self.sizes)
        if after is not None and offset >= after:
            return "after"
        if seen_ns < self.sent.sending_ns or (before is not None and end <= before):
            return "before"
        return "unknown"


class Activity:
    """The open requests of a journal, and those that have just ended."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[tuple[str, str], ActiveRequest] = {}
        self._ended: deque[ActiveRequest] = deque()
        self._marked: dict[str, ActiveRequest] = {}

    @property
    def open(self) -> tuple[ActiveRequest, ...]:
        return tuple(self._open.values())

    @property
    def pids(self) -> set[int]:
        """The server processes of this boot with open requests."""
        return {request.pid for request in self._open.values() if request.this_boot}

    def add(self, event: Event) -> ActiveRequest | None:
        """Add an event. Return its request, None if it has none or if its start is unknown."""
        if event.request_id is None:
            return None
        detail = event.detail
        key = (detail.get("server") or f"{detail.get('boot')}/{detail.get('pid')}", event.request_id)
        if event.name == "request_received":
            return self._start(key, event)
        request = self._open.get(key)
        if request is not None:
            _record(request, event)
            if request.is_over:
                self._end(key, event.t_ns)
        return request

    def writer(self, text: str, earliest_ns: int, seen_ns: int) -> ActiveRequest | None:
        """Return the request that wrote ``text`` between two times, None if there is none, or more than one."""
        for request_id in ids_in(text):
            if request_id in self._marked:
                return self._marked[request_id]
        found = [*islice(self._active(earliest_ns, seen_ns), 2)]
        return found[0] if len(found) == 1 else None

    def overdue(self, now_ns: int) -> Iterator[tuple[ActiveRequest, ActiveTask | None]]:
        """Yield each request without a response, and each task that does not start; each of them once."""
        for request in self.open:
            if not request.this_boot:
                continue
            if request.response_ns is None:
                if request.finished_ns is None and now_ns - request.received_ns > OVERDUE_NS:
                    yield from _once(request, None)
                continue
            tasks = request.tasks.values()
            if not request.open_tasks or any(task.runs for task in tasks):
                continue
            waiting = next((task for task in tasks if not task.ended), None)
            if waiting and now_ns - max(waiting.queued_ns, request.response_ns) > OVERDUE_NS:
                yield from _once(request, waiting)

    def end_process(self, pid: int) -> list[ActiveRequest]:
        """End the open requests of a server process of this boot that has ended. Return those that were not over."""
        lost = []
        for key, request in list(self._open.items()):
            in_workers = request.finished_ns is not None and all(
                task.ended or task.where == "worker" for task in request.tasks.values()
            )
            if request.pid == pid and request.this_boot and not in_workers:
                request.lost = True
                lost.append(request)
                del self._open[key]
        return lost

    def _start(self, key: tuple[str, str], event: Event) -> ActiveRequest:
        self._count += 1
        detail = event.detail
        request = ActiveRequest(
            self._count,
            event.request_id or "",
            detail.get("pid", 0),
            detail.get("method", "?"),
            detail.get("path", "?"),
            event.t_ns,
            detail.get("boot") == boot_id(),
            x_request_id=detail.get("x_request_id"),
        )
        self._open.pop(key, None)
        self._open[key] = request
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
        if uuid_of(request.request_id):
            self._marked[request.request_id] = request
        return request

    def _end(self, key: tuple[str, str], now_ns: int) -> None:
        self._ended.append(self._open.pop(key))
        while self._ended and self._ended[0].last_ns < now_ns - KEPT_NS:
            old = self._ended.popleft()
            if self._marked.get(old.request_id) is old:
                del self._marked[old.request_id]

    def _active(self, earliest_ns: int, seen_ns: int) -> Iterator[ActiveRequest]:
        for requests in (reversed(self._open.values()), reversed(self._ended)):
            for request in requests:
                ended = request.is_over and request.last_ns < earliest_ns
                if request.this_boot and request.received_ns <= seen_ns and not ended:
                    yield request


def _once(request: ActiveRequest, task: ActiveTask | None) -> Iterator[tuple[ActiveRequest, ActiveTask | None]]:
    n = None if task is None else task.n
    if n not in request.told:
        request.told.add(n)
        yield request, task


def _record(request: ActiveRequest, event: Event) -> None:
    detail = event.detail
    if detail.get("boot") == boot_id():
        request.last_ns = max(request.last_ns, event.t_ns)
    match event.name:
        case "response_sent":
            request.status, request.response_ns = detail.get("status"), event.t_ns
            request.sent = SentResponse.of(event)
            if "files" in detail:
                request.sizes = detail["files"], detail.get("files_after", detail["files"])
        case "response_lost":
            request.status, request.response_ns = detail.get("status"), event.t_ns
            request.not_sent = why_not_sent(event)
        case "request_finished":
            request.finished_ns = event.t_ns
            request.error = detail.get("error")
            request.last_sizes |= detail.get("files", {})
        case name if name.startswith("task_"):
            _record_task(request, event)


def _record_task(request: ActiveRequest, event: Event) -> None:
    detail = event.detail
    task = request.tasks.get(detail["n"])
    if task is None:
        task = request.tasks[detail["n"]] = ActiveTask(detail["task"], detail["n"], event.t_ns)
        request.open_tasks += 1
    task.where = detail.get("where", task.where)
    request.last_sizes |= detail.get("files", {})  # of a worker
    task.runs = event.name == "task_started" and not task.ended
    if task.runs and task.started_ns is None:
        task.started_ns = event.t_ns
    if event.name in _ENDS and not task.ended:
        task.ended_ns = event.t_ns
        request.open_tasks -= 1
        request.failed_tasks += event.name == "task_failed"
