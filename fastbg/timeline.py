"""From what the witnesses saw to a verdict. Pure: no files, no sockets, no clock.

These proofs tell what came first:

``client+file``
    When the client had the whole response it looked at the size of each followed file. A write that lies
    at or behind that size was made later.
``server``
    The server handed the last byte of the response to the kernel, then started the tasks: two moments of
    one process. No write stood in its file right after that byte. (Or a task had ended before it was handed over.)
``server+worker``
    The server handed the last byte of the response to the kernel, and a worker, another process under the
    same boot of the same host, started the task later: two times of one clock, the kernel's monotonic one.
    Of a worker under another boot nothing is concluded.
``file+server``
    Right before the server sent the last byte of the response it looked at the sizes. A write that lies
    wholly below was made earlier.

Where no proof holds, the verdict is ``unproven``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from fastbg.events import Event, Verdict
from fastbg.values import Path

TaskState = Literal["queued", "started", "finished", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Task:
    """One background task as the server told of it. Times are monotonic nanoseconds, None for not (yet).

    A task that a worker runs (``where``) may be started more than once: ``tries``. ``started_ns`` is then the first
    start. Where a worker ran under another boot than the server, its times are not comparable, and both are None:
    ``elsewhere``.

    ``waited_ms``: for a thread, None where it needs none or has none yet. ``blocked_ms``: how long it kept the event
    loop from everything else, all in all; short steps are not counted.
    """

    name: str
    state: TaskState
    started_ns: int | None = None
    ended_ns: int | None = None
    where: str | None = None  # "thread", "loop" or "worker"
    error: str | None = None
    reason: str | None = None
    waited_ms: float | None = None
    blocked_ms: float = 0.0
    tries: int = 1
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A text that a follower saw in a file: ``length`` bytes from ``offset`` on, at ``t_ns``.

    ``others``: where else it may be, offset and end: the same text, which another request may have written as well.
    """

    file: str
    text: str
    t_ns: int
    offset: int
    length: int
    others: tuple[tuple[int, int], ...] = ()

    @property
    def earliest(self) -> int:
        """The lowest offset at which it may be."""
        return min([self.offset, *(offset for offset, _ in self.others)])

    @property
    def latest(self) -> int:
        """The highest end that it may have."""
        return max([self.offset + self.length, *(end for _, end in self.others)])


@dataclass(slots=True)
class ExpectedWrite:
    """What a request is expected to bring to a file, ``count`` times, and the writes that did.

    ``pattern``: whether ``text`` is a regular expression. ``marked``: whether it holds the request's own mark. One that
    does not may be another request's, and only the server's journal can tell. ``within_ms``: from sent to seen.
    ``size``: of the file when the server was done with the request, None where nobody told; ``complete``: as much was
    read.
    """

    file: str
    text: str
    marked: bool
    count: int = 1
    pattern: bool = False
    within_ms: float | None = None
    writes: list[Write] = field(default_factory=list)
    size: int | None = None
    complete: bool = False

    @property
    def told(self) -> str:
        """The text, or the pattern, for people."""
        return f"a match of {self.text!r}" if self.pattern else repr(self.text)


@dataclass(frozen=True, slots=True)
class ExpectedTask:
    """A task that is expected: the end of its name, what has to become of it, and where. None for anything."""

    name: str
    state: TaskState | None = None
    where: str | None = None
    within_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What else is expected of a request. Times in milliseconds, None for any.

    ``statuses``: each of them will do. ``body``: the whole text, a part of the JSON value, or None for any. ``tasks``:
    all tasks in the order in which they start.
    """

    verdict: Verdict = "response-first"
    statuses: tuple[int, ...] = (200,)
    body: Any = None
    tasks: tuple[ExpectedTask, ...] | None = None
    response_within_ms: float | None = None
    response_at_least_ms: float | None = None
    lead_at_least_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the witnesses that it rests on, and why it is not another one."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Trace:
    """Everything that was seen of one request.

    ``answered``: the client has done its part. ``text`` and ``body``: what is kept of the response's body as text, and
    as a JSON value where it is one; ``length``: bytes of it that came; ``cut``: not all of it is kept. ``journal``:
    whether the server's journal is at hand. ``gap``: why it may lack events of this request, where its silence proves
    nothing, or empty. ``disturbed``: files that were truncated or replaced meanwhile, where offsets prove nothing.
    ``hangs_up``: the client leaves before the response. ``unsaved``: what was to be saved and was not there, by the
    key. ``ended``: why the wait for more was given up, or empty. ``unseen``: why some of the writes that the script
    expects cannot be seen and were left out, or empty. ``part``: of the script. ``script`` and ``lines``: where the
    request is written, and the lines of its keys.
    """

    name: str
    about: str
    method: str
    url: str
    request_id: str
    expected: Expected
    expected_writes: list[ExpectedWrite]
    journal: bool
    part: str = ""
    script: str = ""
    lines: Mapping[Path, int] = field(default_factory=dict)
    hangs_up: bool = False
    answered: bool = True
    unsaved: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    text: str = ""
    body: Any = None
    length: int = 0
    cut: bool = False
    disturbed: set[str] = field(default_factory=set)
    gap: str = ""
    ended: str = ""
    unseen: str = ""

    def find(self, name: str) -> Event | None:
        """The first event of that name, or None."""
        return next((event for event in self.events if event.name == name), None)

    def time(self, name: str) -> int | None:
        """When the first event of that name was seen, or None."""
        event = self.find(name)
        return event.t_ns if event else None

    def ms(self, t_ns: int | None) -> float | None:
        """A monotonic time, in milliseconds from the moment the request was sent."""
        sent = self.time("request_sent")
        return None if t_ns is None or sent is None else (t_ns - sent) / 1e6

    @property
    def status(self) -> int | None:
        """The status of the response, or None where none came."""
        headers = self.find("response_headers")
        return headers.detail["status"] if headers else None

    @property
    def location(self) -> str:
        """Where a redirect led to, or an empty text."""
        headers = self.find("response_headers")
        return headers.detail.get("location", "") if headers and 300 <= headers.detail["status"] < 400 else ""

    @property
    def writes(self) -> list[Write]:
        """The expected writes that were seen, in the order in which they were."""
        found = [write for expected in self.expected_writes for write in expected.writes]
        return sorted(found, key=lambda write: write.t_ns)

    @property
    def missing(self) -> list[ExpectedWrite]:
        """The expected writes that did not come, or not often enough."""
        return [write for write in self.expected_writes if len(write.writes) < write.count and self._knowable(write)]

    @property
    def unknowable(self) -> list[ExpectedWrite]:
        """The expected writes of which nobody can tell whether they came."""
        return [
            write for write in self.expected_writes if len(write.writes) < write.count and not self._knowable(write)
        ]

    def _knowable(self, write: ExpectedWrite) -> bool:
        return write.file not in self.disturbed and (write.marked or (self.journal and not self.gap))

    @property
    def tasks(self) -> list[Task]:
        """The background tasks that the server's journal names, in the order in which they were queued."""
        return tasks_of(self.events)

    @property
    def with_broker(self) -> bool:
        """Whether all that is left to do is with a broker or its workers, who do not need the server for it."""
        left = [task for task in self.tasks if task.state in ("queued", "started")]
        return bool(left) and self.find("request_finished") is not None and all(t.where == "worker" for t in left)

    @property
    def settled(self) -> bool:
        """Whether nothing that is still to come could change the verdict."""
        finished = self.find("request_finished")
        if not self.answered:
            return False
        if self.find("request_failed"):
            return finished is not None or not (self.hangs_up and self.journal)
        if not self.find("response_complete"):
            return False
        if not self.journal:
            return not self.missing
        if not finished:
            return False
        tasks = self.tasks
        # In a thread, which outlives a call that is cancelled, or queued for a worker: a server drops its own.
        if any(task.state in ("queued", "started") for task in tasks):
            return False
        hopeless = "error" in finished.detail or any(task.state in ("failed", "dropped") for task in tasks)
        unread = (not write.complete and write.size is not None for write in self.expected_writes)
        return not any(unread) and (hopeless or not self.missing)


_TASK_STATES: Mapping[str, TaskState] = {
    "task_queued": "queued",
    "task_started": "started",
    "task_retried": "queued",
    "task_finished": "finished",
    "task_failed": "failed",
    "task_dropped": "dropped",
}
_ENDS = ("finished", "failed", "dropped")


def tasks_of(events: Iterable[Event]) -> list[Task]:
    """The tasks that the events of one request describe, in the order of their numbers.

    What has ended stays so, though a message may be delivered again; but what was done was done, whatever was told of
    it before.
    """
    fields: dict[int, dict[str, Any]] = {}
    starts: Counter[int] = Counter()
    for event in _in_order(events):
        if event.name == "loop_blocked" and event.detail["n"] in fields:
            task = fields[event.detail["n"]]
            task["blocked_ms"] = task.get("blocked_ms", 0.0) + event.detail.get("ms", 0.0)
        state = _TASK_STATES.get(event.name)
        if state is None:
            continue
        task = fields.setdefault(event.detail["n"], {"name": event.detail["task"], "state": state})
        starts[event.detail["n"]] += state == "started"
        elsewhere = _is_elsewhere(event)
        if elsewhere and state != "queued":
            task |= {"elsewhere": True, "started_ns": None, "ended_ns": None}
        timed = not task.get("elsewhere")
        if state == "started" and timed:
            task.setdefault("started_ns", event.t_ns)
        if task["state"] in _ENDS and not (state == "finished" and task["state"] != "finished"):
            continue
        task["state"] = state
        known = ("where", "error", "reason", "waited_ms")
        task |= {key: event.detail[key] for key in known if event.detail.get(key) not in (None, "")}
        if state == "finished":
            task.pop("error", None)  # of an earlier try
        if state in ("finished", "failed") and timed:
            task["ended_ns"] = event.t_ns
    return [Task(**fields[n], tries=max(starts[n], 1)) for n in sorted(fields)]


def _in_order(events: Iterable[Event]) -> list[Event]:
    """By time; those of a worker under another boot come last, as their place among the others is not known."""
    return sorted(events, key=lambda event: (_is_elsewhere(event), event.t_ns))


def _is_elsewhere(event: Event) -> bool:
    """Whether it is a worker's, under another boot than that of the server that queued the task."""
    boot, slash, _ = event.detail.get("server", "").rpartition("/")
    return bool(slash) and boot != event.detail.get("boot")


def judge(trace: Trace) -> Judgement:
    """The verdict of one request from what was seen of it so far."""
    failed = trace.find("request_failed")
    if not trace.find("request_sent"):
        return Judgement("unproven", (), f"not sent: {failed.detail['error']}" if failed else trace.ended)
    tasks, writes = trace.tasks, trace.writes
    for state in ("failed", "dropped"):
        hit = [task for task in tasks if task.state == state]
        if hit:
            return Judgement(state, ("server",), "; ".join(_told(task) for task in hit))
    lost = _lost(trace, tasks)
    if lost:
        return Judgement("lost", _witnesses(trace), lost)
    if failed:
        return Judgement("unproven", (), f"no response: {failed.detail['error']}")
    if trace.unknowable:
        return Judgement("unproven", (), _why_unknowable(trace))
    if not tasks and not writes:
        return _without_work(trace)
    return _order(trace, tasks, writes)


def _told(task: Task) -> str:
    return f"{task.name} {task.state}: {task.error or task.reason or 'no reason given'}"


def _witnesses(trace: Trace) -> tuple[str, ...]:
    return ("file", "server") if trace.journal and not trace.gap else ("file",)


def _lost(trace: Trace, tasks: Sequence[Task]) -> str:
    """What was due and did not come, or an empty text."""
    ends = (trace.find("request_finished"), trace.find("request_failed"))
    because = trace.ended or next((end.detail["error"] for end in ends if end and end.detail.get("error")), "")
    left = [task for task in tasks if task.state in ("queued", "started") and not trace.gap]
    parts = [f"{task.name} {task.state}, never finished" for task in left]
    parts += [f"{PurePath(write.file).name} never got {_lacking(write)}" for write in trace.missing]
    return "; ".join(parts) + (f" ({because})" if because else "") if parts else ""


def _lacking(write: ExpectedWrite) -> str:
    return write.told if write.count == 1 else f"{write.told} {write.count} times, but {len(write.writes)}"


def _why_unknowable(trace: Trace) -> str:
    disturbed = sorted({PurePath(write.file).name for write in trace.unknowable if write.file in trace.disturbed})
    if disturbed:
        return f"{', '.join(disturbed)} was truncated or replaced meanwhile"
    if trace.gap:
        return f"the text carries no mark, and {trace.gap}"
    return "the text carries no mark, and no server's journal tells whose write it is"


def _without_work(trace: Trace) -> Judgement:
    if trace.unseen:
        return Judgement("unproven", (), trace.unseen)
    if trace.gap:
        return Judgement("unproven", (), trace.gap)
    if trace.journal and trace.find("request_finished"):
        return Judgement("no-work", ("server",), "nothing was queued")
    return Judgement("unproven", (), "no server's journal tells whether a task was queued")


def _order(trace: Trace, tasks: Sequence[Task], writes: Sequence[Write]) -> Judgement:
    """What came first, where both the response and all of the work were seen."""
    outside = _after_in_clients_eyes(trace, writes)
    sent = trace.find("response_sent")
    server = "server+worker" if any(task.where == "worker" for task in tasks) else "server"
    for witness, early in (("file+server", _written_before(trace, sent)), (server, _done_before(sent, tasks))):
        if early and outside:
            return Judgement("unproven", (), f"the witnesses disagree: {early}, yet the client had the response before")
        if early:
            return Judgement("work-first", (witness,), early)
    inside = not trace.gap and _after_in_servers_order(sent, tasks) and not _written_by_then(trace, sent)
    evidence = (("client+file",) if outside else ()) + ((server,) if inside else ())
    if not evidence:
        return Judgement("unproven", (), _why_unproven(trace, sent, tasks, _why_not_outside(writes)))
    reason = "" if outside or not writes else f"{_why_not_outside(writes)}: proved from the {_ORDERS[server]}"
    return Judgement("response-first", evidence, reason)


_ORDERS = {"server": "server's order", "server+worker": "clock that server and worker share"}


def _why_not_outside(writes: Sequence[Write]) -> str:
    if any(write.others for write in writes):
        return "another request may have written the same text meanwhile"
    return "too close to call from outside"


def _after_in_clients_eyes(trace: Trace, writes: Sequence[Write]) -> bool:
    complete = trace.find("response_complete")
    if complete is None or not writes:
        return False
    sizes: Mapping[str, int] = complete.detail["sizes"]
    return all(write.file not in trace.disturbed and write.earliest >= sizes[write.file] for write in writes)


def _after_in_servers_order(sent: Event | None, tasks: Sequence[Task]) -> bool:
    if sent is None or not tasks or sent.detail.get("buffered") != 0:
        return False
    return all(task.started_ns is not None and task.started_ns > sent.t_ns for task in tasks)


def _written_before(trace: Trace, sent: Event | None) -> str:
    """How much stood in the files before the response was sent, or an empty text."""
    early = _below(trace, sent.detail.get("files") if sent else None)
    return f"{early} of {len(trace.writes)} writes stood in the file when the response was sent" if early else ""


def _written_by_then(trace: Trace, sent: Event | None) -> int:
    """How many writes stood in the files when the response had been sent."""
    return _below(trace, (sent.detail.get("files_after") or sent.detail.get("files")) if sent else None)


def _below(trace: Trace, sizes: Mapping[str, int] | None) -> int:
    """How many writes certainly lie within these sizes."""
    known = {file: size for file, size in (sizes or {}).items() if file not in trace.disturbed}
    return sum(write.latest <= known.get(write.file, 0) for write in trace.writes)


def _done_before(sent: Event | None, tasks: Sequence[Task]) -> str:
    """Which tasks had ended before the last byte of the response was handed over, or an empty text."""
    sending_ns = sent.detail.get("sending_ns", 0) if sent else 0
    done = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sending_ns]
    return f"{', '.join(done)} finished before the response was sent" if done else ""


def _why_unproven(trace: Trace, sent: Event | None, tasks: Sequence[Task], outside: str) -> str:
    if not trace.journal:
        return f"{outside}, and no server's journal to tell the order"
    if trace.gap:
        return f"{outside}, and {trace.gap}"
    if sent is None:
        return "the server's journal does not tell when the response was sent"
    if not tasks:
        return f"{outside}, and what wrote was no background task that the server knows of"
    if any(task.elsewhere for task in tasks):
        return f"{outside}, and a worker under another boot has a clock of its own"
    if sent.detail.get("buffered") != 0:
        return f"{outside}, and the server still held a part of the response when the task started"
    if _written_by_then(trace, sent):
        return f"{outside}, and something was written while the server sent the response"
    return "the witnesses cannot tell the order"
