"""The processes that recorded in a journal, and what each has not finished. Pure: the caller knows which still run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from fastbg.events import Event

ProcessState = Literal["gone", "running"] | None  # None: cannot be told from here
MAX_PROCESSES = 10_000  # whose start is kept
MAX_SERVER = 200  # characters of its name and version

ProcessKey = tuple[str | None, str, int]  # host, boot and process id


@dataclass(slots=True, eq=False)
class RecordedProcess:
    """A process of a server.

    ``server``: such as "uvicorn 0.54.0, started by gunicorn 27.0.1", None if unknown. ``pid_namespace``,
    ``start_ticks``: identify it on its machine (`fastbg.recorder.processes`), None if unknown. ``tasks``, ``requests``:
    what was unfinished when the journal ended. ``shut_down``: those of the requests that it no longer waited for.
    """

    host: str | None
    boot: str
    pid: int
    server: str | None = None
    pid_namespace: int | None = None
    start_ticks: int | None = None
    state: ProcessState = None
    tasks: int = 0
    requests: int = 0
    shut_down: int = 0

    @property
    def key(self) -> ProcessKey:
        return self.host, self.boot, self.pid

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return the process that wrote ``event``, a ``recording_started``."""
        detail = event.detail
        return cls(*key_of(detail), _server(detail), detail.get("pid_namespace"), detail.get("start_ticks"))


def key_of(detail: Mapping[str, Any]) -> ProcessKey:
    """Return the process of an event's fields."""
    return detail.get("host") or None, detail["boot"], detail["pid"]


def _server(detail: Mapping[str, Any]) -> str | None:
    name = " ".join(filter(None, [detail.get("server_name"), detail.get("server_version")]))
    return ", started by ".join(filter(None, [name, detail.get("manager")]))[:MAX_SERVER] or None


class Processes:
    """The latest process of a journal with each key, and those that left requests unfinished.

    ``state_of``: whether a process still runs.
    """

    def __init__(self, state_of: Callable[[RecordedProcess], ProcessState]) -> None:
        self._state_of = state_of
        self._known: dict[ProcessKey, RecordedProcess] = {}
        self._unfinished: dict[int, RecordedProcess] = {}  # by identity: one that has ended may have the same key

    def start(self, event: Event) -> None:
        """Add the process of a ``recording_started`` event. An earlier one with its id has ended."""
        process = RecordedProcess.of(event)
        earlier = self._known.get(process.key)
        if earlier is not None:
            earlier.state = "gone"
        if earlier is not None or len(self._known) < MAX_PROCESSES:
            self._known[process.key] = process

    def of(self, key: ProcessKey) -> RecordedProcess:
        """Return the latest process with this key. A journal of an older fastbg does not have its start."""
        process = self._known.get(key)
        if process is None:
            process = RecordedProcess(*key)
            if len(self._known) < MAX_PROCESSES:
                self._known[key] = process
        return process

    def leave(self, process: RecordedProcess, tasks: int, *, shut_down: bool) -> ProcessState:
        """Count an unfinished request and its unfinished tasks. Return whether its process still runs."""
        if process.state is None:
            process.state = self._state_of(process)
        process.requests += 1
        process.tasks += tasks
        process.shut_down += shut_down
        self._unfinished[id(process)] = process
        return process.state

    def unfinished(self) -> tuple[RecordedProcess, ...]:
        """Return the processes with unfinished requests."""
        return tuple(self._unfinished.values())
