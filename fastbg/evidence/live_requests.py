"""The last requests of a journal that is still being written, and which of them changed. Memory is bounded."""

from collections.abc import Callable
from dataclasses import dataclass

from fastbg.events import Event, boot_id
from fastbg.evidence.history import MAX_TASKS, JournalAggregator, OpenRequest
from fastbg.evidence.process_state import state_of
from fastbg.evidence.processes import RecordedProcess
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.tasks import tasks_of
from fastbg.evidence.trace import Write
from fastbg.evidence.worker_events import Key

MAX_WRITES = 100  # of a request that are kept


@dataclass(slots=True)
class _Kept:
    """``number``: counts the requests. ``version``: of its last change."""

    number: int
    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """A request that is new or has changed. ``version``: later changes have a higher one."""

    version: int
    number: int
    request: RecordedRequest


class LiveRequests(JournalAggregator):
    """The ``last`` requests, each judged like those of a finished journal as soon as it is over."""

    def __init__(self, last: int) -> None:
        super().__init__(last, state_of=state_of)
        self._most = last
        self._version = 0
        self._kept: dict[RecordedRequest, _Kept] = {}  # in the order of their last change
        self._by_key: dict[Key, RecordedRequest] = {}

    @property
    def total(self) -> int:
        """The number of all requests."""
        return self._requests

    @property
    def version(self) -> int:
        """The version of the last change."""
        return self._version

    def changes(self, since: int, most: int) -> list[Change]:
        """Return the ``most`` oldest changes after the version ``since``, the oldest first."""
        found: list[Change] = []
        for request, kept in reversed(self._kept.items()):
            if kept.version <= since:
                break
            found.append(Change(kept.version, kept.number, request))
        found = found[: -most - 1 : -1]
        for change in found:
            self._add_tasks(change)
        return found

    def add_write(self, pid: int, boot: str, request_id: str, write: Write) -> None:
        """Add a write that was seen in a file to its request, if that is still kept."""
        request = self._by_key.get((f"{boot}/{pid}", request_id))
        if request is not None and len(request.writes) < MAX_WRITES:
            request.writes = [*request.writes, write]
            self._touch(request)

    def end_of_processes(self) -> None:
        """End the unfinished requests whose server process is gone. What a worker does needs no server."""
        states = {id(entry.process): state_of(entry.process) for entry in self._open.values()}
        self._end_all(lambda process: states[id(process)] == "gone")

    def end_of_process(self, pid: int) -> None:
        """End the unfinished requests of a server process of this boot that is known to be gone."""
        self._end_all(lambda process: (process.boot, process.pid) == (boot_id(), pid))

    def _end_all(self, is_gone: Callable[[RecordedProcess], bool]) -> None:
        for key, entry in list(self._open.items()):
            if not entry.in_worker and is_gone(entry.process):
                entry.process.state = "gone"
                self._end(key, entry)

    def _start(self, key: Key, event: Event, size: int) -> None:
        if len(self._last) == self._most:
            self._forget(self._last[0])
        super()._start(key, event, size)
        request = self._last[-1]
        request.is_over = False
        self._version += 1
        self._kept[request] = _Kept(self._requests, key, self._version)
        self._by_key[key] = request

    def _record(self, key: Key, entry: OpenRequest, event: Event) -> None:
        super()._record(key, entry, event)
        self._touch(entry.request)

    def _close(self, key: Key) -> None:
        request = self._open[key].request
        super()._close(key)
        request.is_over = True
        self._touch(request)

    def _touch(self, request: RecordedRequest) -> None:
        kept = self._kept.pop(request, None)
        if kept is not None:
            self._version += 1
            kept.version = self._version
            self._kept[request] = kept

    def _forget(self, request: RecordedRequest) -> None:
        kept = self._kept.pop(request)
        if self._by_key.get(kept.key) is request:
            del self._by_key[kept.key]

    def _add_tasks(self, change: Change) -> None:
        """Give an unfinished request the tasks that it has up to now: only when somebody looks at it."""
        kept = self._kept[change.request]
        entry = self._open.get(kept.key)
        if entry is not None and entry.request is change.request:
            tasks = tasks_of(entry.events)
            change.request.tasks, change.request.more_tasks = tasks[:MAX_TASKS], max(len(tasks) - MAX_TASKS, 0)
