"""What is expected of one request, and all that was seen of it. Pure: no files, no sockets, no clock.

`fastbg.evidence.verdict` makes a verdict of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastbg.events import Event, Verdict
from fastbg.evidence.tasks import Task, TaskState, ms_between, tasks_of
from fastbg.scripting.placeholders import KeyPath


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
    """What is expected of a request. Times in milliseconds, None for any.

    ``statuses``: each of them will do. ``body``: the whole text, a part of the JSON value, or None for any. ``tasks``:
    all tasks in the order in which they start. ``unseen``: why some of the writes that the script expects cannot be
    seen and are not among ``writes``.
    """

    verdict: Verdict = "response-first"
    statuses: tuple[int, ...] = (200,)
    body: Any = None
    tasks: tuple[ExpectedTask, ...] | None = None
    writes: tuple[ExpectedWrite, ...] = ()
    unseen: str | None = None
    response_within_ms: float | None = None
    response_at_least_ms: float | None = None
    lead_at_least_ms: float | None = None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it is sent, and where a script says so.

    ``part``: of the script. ``script`` and ``lines``: the file in which the request is written, and the lines of its
    keys. ``hangs_up``: the client closes the connection before the response.
    """

    request_id: str
    method: str
    url: str
    name: str
    part: str = ""
    script: str | None = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    hangs_up: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """What is kept of the body of a response: as text, and as a JSON value where it is one.

    ``length``: bytes that came; ``cut``: not all of them are kept.
    """

    text: str = ""
    json: Any = None
    length: int = 0
    cut: bool = False


@dataclass(slots=True)
class Witnesses:
    """Which evidence there is of a request beside its client's.

    ``journal``: whether the server's journal is at hand. ``gap``: why it may lack events of this request, where its
    silence proves nothing. ``disturbed``: files that were truncated or replaced meanwhile, where offsets prove nothing.
    """

    journal: bool = True
    gap: str | None = None
    disturbed: set[str] = field(default_factory=set)

    @property
    def whole_journal(self) -> bool:
        """Whether what the journal does not tell did not happen."""
        return self.journal and not self.gap


@dataclass(slots=True)
class Trace:
    """Everything that was seen of one request.

    ``unsaved``: what was to be saved of the response and was not there, by the key. ``answered``: the client has done
    its part. ``ended``: why the wait for more was given up.
    """

    request: SentRequest
    expected: Expected = field(default_factory=Expected)
    witnesses: Witnesses = field(default_factory=Witnesses)
    events: list[Event] = field(default_factory=list)
    body: ReceivedBody = field(default_factory=ReceivedBody)
    unsaved: dict[str, str] = field(default_factory=dict)
    answered: bool = True
    ended: str | None = None

    @property
    def name(self) -> str:
        """What people call the request."""
        return self.request.name

    @property
    def request_id(self) -> str:
        """What every witness calls it."""
        return self.request.request_id

    def find(self, name: str) -> Event | None:
        """The first event of that name, or None."""
        return next((event for event in self.events if event.name == name), None)

    def time(self, name: str) -> int | None:
        """When the first event of that name was seen, or None."""
        event = self.find(name)
        return event.t_ns if event else None

    def ms(self, t_ns: int | None) -> float | None:
        """A monotonic time, in milliseconds from the moment the request was sent."""
        return ms_between(self.time("request_sent"), t_ns)

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
        found = [write for expected in self.expected.writes for write in expected.writes]
        return sorted(found, key=lambda write: write.t_ns)

    @property
    def missing(self) -> list[ExpectedWrite]:
        """The expected writes that did not come, or not often enough."""
        return [write for write in self.expected.writes if len(write.writes) < write.count and self._knowable(write)]

    @property
    def unknowable(self) -> list[ExpectedWrite]:
        """The expected writes of which nobody can tell whether they came."""
        return [
            write for write in self.expected.writes if len(write.writes) < write.count and not self._knowable(write)
        ]

    def _knowable(self, write: ExpectedWrite) -> bool:
        return write.file not in self.witnesses.disturbed and (write.marked or self.witnesses.whole_journal)

    @property
    def within_ms(self) -> float | None:
        """How long after the request the last missing write is due; None without a limit, or while a task may write."""
        limits = [write.within_ms for write in self.missing]
        known = [limit for limit in limits if limit is not None]
        if not known or len(known) < len(limits):  # mostly; it is asked whenever a witness says something
            return None
        return max(known) if self.find("request_finished") and not self._unended else None

    @property
    def due_ns(self) -> int | None:
        """The moment at which `within_ms` ends."""
        sent, within_ms = self.time("request_sent"), self.within_ms
        return None if sent is None or within_ms is None else sent + int(within_ms * 1e6)

    @property
    def tasks(self) -> list[Task]:
        """The background tasks that the server's journal names, in the order in which they were queued."""
        return tasks_of(self.events)

    @property
    def with_broker(self) -> bool:
        """Whether all that is left to do is with a broker or its workers, who do not need the server for it."""
        left = self._unended
        return bool(left) and self.find("request_finished") is not None and all(t.where == "worker" for t in left)

    @property
    def _unended(self) -> list[Task]:
        return [task for task in self.tasks if task.is_open]

    @property
    def settled(self) -> bool:
        """Whether nothing that is still to come could change the verdict."""
        finished = self.find("request_finished")
        if not self.answered:
            return False
        if self.find("request_failed"):
            if not (self.request.hangs_up and self.witnesses.journal):
                return True
        elif not self.find("response_complete"):
            return False
        if not self.witnesses.journal:
            return not self.missing
        if not finished:
            return False
        tasks = self.tasks
        # In a thread, which outlives a call that is cancelled, or queued for a worker: a server drops its own.
        if any(task.is_open for task in tasks):
            return False
        hopeless = "error" in finished.detail or any(task.state in ("failed", "dropped") for task in tasks)
        unread = (not write.complete and write.size is not None for write in self.expected.writes)
        return not any(unread) and (hopeless or not self.missing)
