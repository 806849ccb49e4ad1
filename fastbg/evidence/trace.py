"""The expectations of one request and the evidence about it. Pure: no files, no sockets, no clock.

`fastbg.evidence.verdict` decides the verdict from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

from fastbg.events import Event, ExpectedVerdict
from fastbg.evidence.tasks import ENDS, TASK_STATES, Task, TaskState, ms_between, tasks_of
from fastbg.scripting.placeholders import KeyPath

Change = Literal["created", "deleted"]
Disturbance = Literal["rewritten", "replaced", "changed in place", "perhaps changed in place"]


@dataclass(frozen=True, slots=True)
class Write:
    """A text that a follower saw in a file at ``t_ns``: ``length`` bytes from ``offset``.

    ``read_ns``: when it had been read, 0 if unknown. In a file that is rewritten it may be younger than ``t_ns``.
    ``others``: offset and end of the first and the last equal text; each of them, and of those between them, may be
    this write, or the write of another request.
    ``change``: the file was created or deleted instead; then text, offset and length are empty. ``shared``: another
    request may have made this change.
    """

    file: str
    text: str
    t_ns: int
    offset: int
    length: int
    others: tuple[tuple[int, int], ...] = ()
    change: Change | None = None
    shared: bool = False
    read_ns: int = 0

    @property
    def earliest(self) -> int:
        """The lowest offset at which the write may start."""
        return min([self.offset, *(offset for offset, _ in self.others)])

    @property
    def latest(self) -> int:
        """The highest offset at which the write may end."""
        return max([self.offset + self.length, *(end for _, end in self.others)])


@dataclass(slots=True)
class ExpectedWrite:
    """A text that a request is expected to write to a file ``count`` times, and the writes that were found.

    ``pattern``: whether ``text`` is a regular expression. ``has_id``: whether it contains the request id. Without the
    id it may be the write of another request, so the server's journal is necessary. ``within_ms``: limit from the
    request to the write. ``size``: size of the file when the server had finished the request, None if unknown.
    ``complete``: whether the file was read up to that size.

    ``change``: the file is expected to be created or deleted, instead of a text. ``shared``: another request that was
    open at the same time is expected to write to the file, too. ``overwritten``: the file has a text of another request
    in place of this one. ``doubt``: why the write may have been made although it was not seen.
    """

    file: str
    text: str
    has_id: bool
    count: int = 1
    pattern: bool = False
    within_ms: float | None = None
    writes: list[Write] = field(default_factory=list)
    size: int | None = None
    complete: bool = False
    change: Change | None = None
    shared: bool = False
    overwritten: bool = False
    doubt: str | None = None

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return PurePath(self.file).name

    @property
    def is_met(self) -> bool:
        return len(self.writes) >= self.count

    @property
    def is_anonymous(self) -> bool:
        """Whether the text does not show which request wrote it."""
        return self.change is None and not self.has_id

    @property
    def description(self) -> str:
        """The text or the pattern as messages show it."""
        return f"a match of {self.text!r}" if self.pattern else repr(self.text)

    @property
    def event(self) -> str:
        """What is expected to happen, as messages show it."""
        if self.change is None:
            return f"{self.description} in {self.name}"
        return f"the {'creation' if self.change == 'created' else 'deletion'} of {self.name}"


@dataclass(frozen=True, slots=True)
class ExpectedTask:
    """An expected task: the end of its name, its final state, and where it runs. None allows anything."""

    name: str
    state: TaskState | None = None
    where: str | None = None
    within_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The expectations of a request. Times are milliseconds. None allows anything.

    ``statuses``: the allowed statuses; empty: any. ``body``: the whole text, or a part of the JSON value. ``tasks``:
    all tasks in the order of their starts. ``unseen``: why some expected writes of the script cannot be seen and are
    not in ``writes``.
    """

    verdict: ExpectedVerdict = "response-first"
    statuses: tuple[int, ...] = (200,)
    body: Any = None
    tasks: tuple[ExpectedTask, ...] | None = None
    writes: tuple[ExpectedWrite, ...] = ()
    unseen: str | None = None
    response_within_ms: float | None = None
    response_at_least_ms: float | None = None
    lead_at_least_ms: float | None = None

    @property
    def files(self) -> set[str]:
        """The files that are expected to be written, created or deleted."""
        return {write.file for write in self.writes}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it is sent, and its place in a script.

    ``part``: part of the script. ``script``: file of the script. ``lines``: line numbers of the request's keys;
    the request itself has the empty key.
    ``hangs_up``: the client closes the connection before the response.
    """

    request_id: str
    method: str
    url: str
    name: str
    part: str = ""
    script: str | None = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    hangs_up: bool = False

    @property
    def path(self) -> str:
        """The path of the URL, without the query."""
        try:
            return urlsplit(self.url).path or "/"
        except ValueError:  # an unmatched bracket
            return self.url


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """The kept part of a response body, as text and, if it is JSON, as a value.

    ``length``: number of received bytes. ``cut``: whether some of them are not kept.
    """

    text: str = ""
    json: Any = None
    length: int = 0
    cut: bool = False


@dataclass(slots=True)
class Witnesses:
    """The witnesses of a request besides its client.

    ``journal``: whether the server's journal is available. ``gap``: why events of this request may be missing in it; a
    missing event then proves nothing. ``all_files``: whether the server's file sizes include all followed files that
    exist. ``disturbed``: what happened to files during the request, so that their offsets prove nothing.
    """

    journal: bool = True
    gap: str | None = None
    all_files: bool = False
    disturbed: dict[str, Disturbance] = field(default_factory=dict)

    @property
    def whole_journal(self) -> bool:
        """Whether the journal has all events, so that a missing event proves that nothing happened."""
        return self.journal and not self.gap


MAX_MOVES = 1000  # events of tasks that are progress, besides those of the tasks that the app queued to respond


class _Index:
    """What is asked about the events of a request at each new one. It reads each event once.

    ``first``: the first event of each name. ``open``: the tasks without an end, by number, with the place where they
    run. ``started``: the numbers of those that have started. ``failed``: of those that have failed or were dropped.
    ``tasks``: all tasks, None if they are not built from all of these events.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.first: dict[str, Event] = {}
        self.open: dict[int, str | None] = {}
        self.started: set[int] = set()
        self.failed: set[int] = set()
        self.tasks: list[Task] | None = None
        self.moves = 0  # events of tasks that start, end or are tried again
        self.queued = 0  # tasks, until the response was sent
        self._count = 0
        self._ended: set[int] = set()

    def read(self) -> None:
        """Read the events that are new."""
        if self._count == len(self.events):
            return
        for number in range(self._count, len(self.events)):
            event = self.events[number]
            self.first.setdefault(event.name, event)
            if event.name in TASK_STATES:
                self._add(event)
        self._count, self.tasks = len(self.events), None

    def _add(self, event: Event) -> None:
        n = event.detail["n"]
        if event.name != "task_queued":
            self.moves += 1
        elif "response_sent" not in self.first:
            self.queued += 1
        if TASK_STATES[event.name] in ENDS:
            self.open.pop(n, None)
            if event.name == "task_finished":  # also after it failed: a worker has tried it again
                self.failed.discard(n)
            elif n not in self._ended:
                self.failed.add(n)
            self._ended.add(n)
        elif n not in self._ended:
            if event.name == "task_started":
                self.started.add(n)
            self.open[n] = event.detail.get("where") or self.open.get(n)


@dataclass(slots=True)
class Trace:
    """Everything that was seen of one request.

    ``events``: may be appended to, or be replaced as a list, but not changed in place.
    ``unsaved``: sources of the values that the response did not contain, by their name in ``save``.
    ``similar_routes``: routes of the app, if the request did not reach one, such as "GET /users/{id}". ``answered``:
    whether the client has finished. ``ended``: why the wait for more events was stopped, at ``ended_ns``: because
    the server was gone, or fastbg was interrupted.
    """

    request: SentRequest
    expected: Expected = field(default_factory=Expected)
    witnesses: Witnesses = field(default_factory=Witnesses)
    events: list[Event] = field(default_factory=list)
    body: ReceivedBody = field(default_factory=ReceivedBody)
    unsaved: dict[str, str] = field(default_factory=dict)
    similar_routes: tuple[str, ...] = ()
    answered: bool = True
    ended: str | None = None
    ended_ns: int | None = None
    server_gone: bool = False
    interrupted: bool = False
    _known: _Index = field(default_factory=lambda: _Index(()), init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def x_request_id(self) -> str | None:
        """The ``X-Request-ID`` that the server received."""
        received = self.find("request_received")
        return received.detail.get("x_request_id") if received else None

    def find(self, name: str) -> Event | None:
        return self._index.first.get(name)

    @property
    def _index(self) -> _Index:
        if self._known.events is not self.events:
            self._known = _Index(self.events)
        self._known.read()
        return self._known

    def time(self, name: str) -> int | None:
        event = self.find(name)
        return event.t_ns if event else None

    def ms(self, t_ns: int | None) -> float | None:
        """Return a monotonic time in milliseconds since the request was sent."""
        return ms_between(self.time("request_sent"), t_ns)

    @property
    def status(self) -> int | None:
        headers = self.find("response_headers")
        return headers.detail["status"] if headers else None

    @property
    def location(self) -> str:
        """The target of a redirect, or an empty string."""
        headers = self.find("response_headers")
        return headers.detail.get("location", "") if headers and 300 <= headers.detail["status"] < 400 else ""

    @property
    def error(self) -> str | None:
        """The exception that the app raised."""
        finished = self.find("request_finished")
        return finished.detail.get("error") if finished else None

    @property
    def traceback(self) -> str | None:
        """The exception that the app raised, as lines of text."""
        finished = self.find("request_finished")
        return finished.detail.get("traceback") if finished else None

    @property
    def allow(self) -> str:
        """The methods that a response with status 405 names, or an empty string."""
        headers = self.find("response_headers")
        return headers.detail.get("allow", "") if headers and headers.detail["status"] == 405 else ""

    @property
    def writes(self) -> list[Write]:
        """The expected writes that were seen, ordered by time."""
        found = [write for expected in self.expected.writes for write in expected.writes]
        return sorted(found, key=lambda write: write.t_ns)

    @property
    def missing(self) -> list[ExpectedWrite]:
        """The expected writes that were not seen, or not often enough."""
        return [write for write in self._unmet_writes if self._is_knowable(write)]

    @property
    def unknowable(self) -> list[ExpectedWrite]:
        """The expected writes of which nothing can show whether they were made."""
        return [write for write in self._unmet_writes if not write.overwritten and not self._is_knowable(write)]

    def may_write(self, file: str) -> bool:
        """Return whether a write to ``file`` is expected that was not seen yet."""
        return any(write.file == file and not write.is_met for write in self.expected.writes)

    def share(self, file: str) -> None:
        """Mark that another request may write to ``file`` at the same time."""
        for write in self.expected.writes:
            write.shared = write.shared or write.file == file

    @property
    def overwritten(self) -> list[ExpectedWrite]:
        """The expected writes that another request has overwritten before they were seen."""
        return [write for write in self._unmet_writes if write.overwritten]

    @property
    def _unmet_writes(self) -> list[ExpectedWrite]:
        return [write for write in self.expected.writes if not write.is_met]

    def _is_knowable(self, write: ExpectedWrite) -> bool:
        return not write.overwritten and (not write.is_anonymous or self.witnesses.whole_journal)

    def doubt(self, write: ExpectedWrite) -> str | None:
        """Return why ``write`` may have been made although it was not seen, None if it was not made."""
        how = self.witnesses.disturbed.get(write.file)
        is_certain = how is not None and how != "perhaps changed in place"
        return write.doubt or (f"{write.name} was {how} during the request" if is_certain else None)

    @property
    def within_ms(self) -> float | None:
        """The limit of the last missing write, None without a limit or while a task may still write it."""
        limits = [write.within_ms for write in self.missing]
        known = [limit for limit in limits if limit is not None]
        if not known or len(known) < len(limits):  # the usual case first: every event evaluates this property
            return None
        if not self.witnesses.journal:  # nobody sees the tasks
            return max(known) if self.answered else None
        return max(known) if self.find("request_finished") and not self._index.open else None

    @property
    def due_ns(self) -> int | None:
        """The monotonic time at which `within_ms` ends."""
        sent, within_ms = self.time("request_sent"), self.within_ms
        return None if sent is None or within_ms is None else sent + int(within_ms * 1e6)

    @property
    def tasks(self) -> list[Task]:
        """The background tasks in the server's journal, in the order in which they were queued."""
        index = self._index
        if index.tasks is None:
            index.tasks = tasks_of(self.events)
        return index.tasks

    @property
    def with_broker(self) -> bool:
        """Whether only a broker and its workers have open tasks, which do not need the server.

        Before the end of the request, which a killed server does not record, the broker has only what a worker started.
        """
        tasks = self._index.open
        with_worker = bool(tasks) and all(place == "worker" for place in tasks.values())
        return with_worker and (self.find("request_finished") is not None or tasks.keys() <= self._index.started)

    def progresses(self, event: Event) -> bool:
        """Return whether ``event``, the last one, shows that the request will end: tasks may be made without end."""
        if event.name == "loop_blocked" or event.name == "task_queued":
            return False
        index = self._index
        return index.moves <= MAX_MOVES + (3 * index.queued if "response_sent" in index.first else 0)

    def was_active(self, begin_ns: int, end_ns: int) -> bool:
        """Return whether the request or one of its tasks ran between two monotonic times."""
        sent_ns = self.time("request_sent")
        if sent_ns is None or sent_ns > end_ns:
            return False
        finished_ns = self.time("request_finished")
        if finished_ns is None or self._index.open:
            return True
        return max([finished_ns, *(task.ended_ns or 0 for task in self.tasks)]) >= begin_ns

    @property
    def settled(self) -> bool:
        """Whether no later event can change the verdict."""
        finished = self.find("request_finished")
        if not self.answered:
            return False
        if self.find("request_failed"):
            # A request that was sent may have reached the app, also if there was no response: behind a proxy.
            if not (self.find("request_sent") and self.witnesses.journal):
                return True
        elif not self.find("response_complete"):
            return False
        if not self.witnesses.journal:
            return not self.missing
        if not finished:
            return False
        # A task in a thread outlives a cancelled call, and a task of a worker outlives the request.
        if self._index.open:
            return False
        hopeless = "error" in finished.detail or bool(self._index.failed)
        return not self.unread and (hopeless or not self.missing)

    @property
    def unread(self) -> list[ExpectedWrite]:
        """The expected writes whose file was not read up to its size at the end of the request."""
        return [write for write in self.expected.writes if not write.complete and write.size is not None]

    @property
    def needs_look(self) -> bool:
        """Whether the files of a request that is not `settled` have to be looked at again: it and its tasks have ended.

        False while the follower reads what was appended.
        """
        if not self.answered or not self.find("request_finished") or self._index.open:
            return False
        return all(write.file in self.witnesses.disturbed for write in self.unread)
