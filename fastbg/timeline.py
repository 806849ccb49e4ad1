"""From what the witnesses saw to a verdict. Pure: no files, no sockets, no clock.

Two kinds of proof tell what came first, and neither compares the clocks of two processes:

``client+file``
    When the client had the whole response it looked at the size of each followed file. A write that lies
    at or behind that size was made later.
``server``
    The server handed the last byte of the response to the kernel, then started the tasks: two moments of
    one process.
``file+server``
    Right before the server sent the last byte of the response it looked at the sizes. A write that lies
    wholly below was made earlier.

Where no proof holds, the verdict is ``unproven``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastbg.events import Event, Verdict

TaskState = Literal["queued", "started", "finished", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Task:
    """One background task as the server told of it. Times are monotonic nanoseconds, None for not (yet)."""

    name: str
    state: TaskState
    started_ns: int | None = None
    ended_ns: int | None = None
    where: str | None = None  # "thread" or "loop"
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A text that a follower saw in a file: ``length`` bytes from ``offset`` on, at ``t_ns``."""

    file: str
    text: str
    t_ns: int
    offset: int
    length: int


@dataclass(slots=True)
class ExpectedWrite:
    """A text that a request is expected to bring to a file, and the write that did.

    ``marked``: whether the text holds the request's own mark. One that does not may be another request's, and only
    the server's journal can tell.
    """

    file: str
    text: str
    marked: bool
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What else is expected of a request. ``body``: the whole text, a part of the JSON value, or None for any."""

    verdict: Verdict = "response-first"
    status: int = 200
    body: Any = None
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the witnesses that it rests on, and why it is not another one."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Trace:
    """Everything that was seen of one request.

    ``text`` and ``body``: the response's body as text, and as a JSON value where it is one. ``journal``: whether the
    server's journal is at hand. ``disturbed``: files that were truncated or replaced meanwhile, where offsets prove
    nothing. ``ended``: why the wait for more was given up, or empty.
    """

    name: str
    about: str
    method: str
    url: str
    request_id: str
    expected: Expected
    expected_writes: list[ExpectedWrite]
    journal: bool
    events: list[Event] = field(default_factory=list)
    text: str = ""
    body: Any = None
    disturbed: set[str] = field(default_factory=set)
    ended: str = ""

    def find(self, name: str) -> Event | None:
        """The first event of that name, or None."""
        return next((event for event in self.events if event.name == name), None)

    def time(self, name: str) -> int | None:
        """When the first event of that name was seen, or None."""
        event = self.find(name)
        return event.t_ns if event else None

    @property
    def status(self) -> int | None:
        """The status of the response, or None where none came."""
        headers = self.find("response_headers")
        return headers.detail["status"] if headers else None

    @property
    def writes(self) -> list[Write]:
        """The expected writes that were seen, in the order in which they were."""
        found = [expected.write for expected in self.expected_writes if expected.write]
        return sorted(found, key=lambda write: write.t_ns)

    @property
    def missing(self) -> list[ExpectedWrite]:
        """The expected writes that did not come."""
        return [write for write in self.expected_writes if not write.write and self._knowable(write)]

    @property
    def unknowable(self) -> list[ExpectedWrite]:
        """The expected writes of which nobody can tell whether they came."""
        return [write for write in self.expected_writes if not write.write and not self._knowable(write)]

    def _knowable(self, write: ExpectedWrite) -> bool:
        return write.file not in self.disturbed and (write.marked or self.journal)

    @property
    def tasks(self) -> list[Task]:
        """The background tasks that the server's journal names, in the order in which they were queued."""
        return tasks_of(self.events)

    @property
    def settled(self) -> bool:
        """Whether nothing that is still to come could change the verdict."""
        if self.find("request_failed"):
            return True
        if not self.find("response_complete"):
            return False
        if not self.journal:
            return not self.missing
        finished = self.find("request_finished")
        if not finished:
            return False
        hopeless = "error" in finished.detail or any(task.state in ("failed", "dropped") for task in self.tasks)
        return hopeless or not self.missing


_TASK_STATES: Mapping[str, TaskState] = {
    "task_queued": "queued",
    "task_started": "started",
    "task_finished": "finished",
    "task_failed": "failed",
    "task_dropped": "dropped",
}


def tasks_of(events: Iterable[Event]) -> list[Task]:
    """The tasks that the server's events of one request describe, in the order of their numbers."""
    fields: dict[int, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event.t_ns):
        state = _TASK_STATES.get(event.name)
        if state is None:
            continue
        task = fields.setdefault(event.detail["n"], {"name": event.detail["task"]})
        task["state"] = state
        task |= {key: event.detail[key] for key in ("where", "error", "reason") if event.detail.get(key)}
        if state == "started":
            task["started_ns"] = event.t_ns
        elif state in ("finished", "failed"):
            task["ended_ns"] = event.t_ns
    return [Task(**fields[n]) for n in sorted(fields)]


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
    return ("file", "server") if trace.journal else ("file",)


def _lost(trace: Trace, tasks: Sequence[Task]) -> str:
    """What was due and did not come, or an empty text."""
    finished = trace.find("request_finished")
    because = trace.ended or (finished and finished.detail.get("error"))
    parts = [f"{task.name} {task.state}, never finished" for task in tasks if task.state in ("queued", "started")]
    parts += [f"{Path(write.file).name} never got {write.text!r}" for write in trace.missing]
    return "; ".join(parts) + (f" ({because})" if because else "") if parts else ""


def _why_unknowable(trace: Trace) -> str:
    disturbed = sorted({Path(write.file).name for write in trace.unknowable if write.file in trace.disturbed})
    if disturbed:
        return f"{', '.join(disturbed)} was truncated or replaced meanwhile"
    return "the text carries no mark, and no server's journal tells whose write it is"


def _without_work(trace: Trace) -> Judgement:
    if trace.journal and trace.find("request_finished"):
        return Judgement("no-work", ("server",), "nothing was queued")
    return Judgement("unproven", (), "no server's journal tells whether a task was queued")


def _order(trace: Trace, tasks: Sequence[Task], writes: Sequence[Write]) -> Judgement:
    """What came first, where both the response and all of the work were seen."""
    outside = _after_in_clients_eyes(trace, writes)
    sent = trace.find("response_sent")
    early = _before_response(trace, sent, tasks, writes)
    if early and outside:
        return Judgement("unproven", (), f"the witnesses disagree: {early}, yet the client had the response before")
    if early:
        witnesses = ("file+server",) if writes else ("server",)
        return Judgement("work-first", witnesses, early)
    inside = _after_in_servers_order(sent, tasks)
    evidence = (("client+file",) if outside else ()) + (("server",) if inside else ())
    if not evidence:
        return Judgement("unproven", (), _why_unproven(trace, sent, tasks))
    reason = "" if outside or not writes else "too close to call from outside: proved from the server's order"
    return Judgement("response-first", evidence, reason)


def _after_in_clients_eyes(trace: Trace, writes: Sequence[Write]) -> bool:
    complete = trace.find("response_complete")
    if complete is None or not writes:
        return False
    sizes: Mapping[str, int] = complete.detail["sizes"]
    return all(write.file not in trace.disturbed and write.offset >= sizes[write.file] for write in writes)


def _after_in_servers_order(sent: Event | None, tasks: Sequence[Task]) -> bool:
    if sent is None or not tasks or sent.detail.get("buffered") != 0:
        return False
    return all(task.started_ns is not None and task.started_ns > sent.t_ns for task in tasks)


def _before_response(trace: Trace, sent: Event | None, tasks: Sequence[Task], writes: Sequence[Write]) -> str:
    """Which part of the work was done before the response was sent, or an empty text."""
    if sent is None:
        return ""
    sizes: Mapping[str, int] = sent.detail.get("files") or {}
    early = [
        write.file
        for write in writes
        if write.file not in trace.disturbed and write.offset + write.length <= sizes.get(write.file, 0)
    ]
    if early:
        return f"{len(early)} of {len(writes)} writes stood in the file when the response was sent"
    done = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sent.t_ns]
    return f"{', '.join(done)} finished before the response was sent" if done else ""


def _why_unproven(trace: Trace, sent: Event | None, tasks: Sequence[Task]) -> str:
    if not trace.journal:
        return "too close to call from outside, and no server's journal to tell the order"
    if sent is None:
        return "the server's journal does not tell when the response was sent"
    if not tasks:
        return "too close to call from outside, and what wrote was no background task that the server knows of"
    if sent.detail.get("buffered") != 0:
        return "too close to call from outside, and the server still held a part of the response when the task started"
    return "the witnesses cannot tell the order"


def unmet(trace: Trace, judgement: Judgement) -> list[str]:
    """The expectations that ``trace`` does not meet, one sentence each, with both values."""
    expected = trace.expected
    sentences = []
    if trace.status != expected.status:
        sentences.append(f"status: expected {expected.status}, was {trace.status}")
    elif expected.body is not None and not contains(
        trace.text if isinstance(expected.body, str) else trace.body, expected.body
    ):
        sentences.append(f"body: expected {expected.body!r}, was {trace.text!r}")
    if judgement.verdict != expected.verdict:
        sentences.append(f"verdict: expected {expected.verdict}, was {judgement.verdict}")
    if expected.tasks is not None and trace.journal:
        names = tuple(task.name for task in trace.tasks)
        if len(names) != len(expected.tasks) or not all(map(_names, expected.tasks, names)):
            sentences.append(
                f"tasks: expected {', '.join(expected.tasks) or 'none'}, were {', '.join(names) or 'none'}"
            )
    return sentences


def _names(expected: str, name: str) -> bool:
    """Whether a task's whole name, or its end behind a dot, is the expected one."""
    return name == expected or name.endswith("." + expected)


def contains(body: Any, part: Any) -> bool:
    """Whether ``part`` is in ``body``: objects may have more keys, everything else is equal."""
    if isinstance(part, Mapping) and isinstance(body, Mapping):
        return all(key in body and contains(body[key], value) for key, value in part.items())
    return bool(body == part)
