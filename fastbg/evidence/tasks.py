"""The background tasks of one request, built from the server's events. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from fastbg.events import Event

Mark = Literal["failed", "dropped", "lost", "open"]
TaskState = Literal["queued", "started", "finished", "failed", "dropped"]


@dataclass(slots=True)
class Task:
    """One background task as the server recorded it. Times are monotonic nanoseconds, None if it did not happen (yet).

    ``tries``: number of starts; a worker may start a task again. ``started_ns`` is the first start. ``elsewhere``: a
    worker ran it under another boot than the server's; both times are then None, because they cannot be compared.

    ``thread_id``: of the thread that ran it, None without one or if it is unknown. ``detail``: what is unusual about
    it, as a text: why it was dropped, or how it came to run.
    ``waited_ms``: time until a thread was free, None without a thread. ``blocked_ms``: total time for which its steps
    blocked the event loop; short steps are not counted.
    """

    name: str
    state: TaskState
    started_ns: int | None = None
    ended_ns: int | None = None
    dropped_ns: int | None = None
    where: str | None = None  # "thread", "loop" or "worker"
    thread_id: int | None = None
    error: str | None = None
    traceback: str | None = None  # of this error
    reason: str | None = None
    detail: str | None = None
    waited_ms: float | None = None
    blocked_ms: float = 0.0
    tries: int = 1
    elsewhere: bool = False

    @property
    def called_ns(self) -> int | None:
        """When Starlette called it: before it waited for a thread."""
        if self.started_ns is None or not self.waited_ms:
            return self.started_ns
        return self.started_ns - int(self.waited_ms * 1e6)

    @property
    def is_open(self) -> bool:
        return self.state not in ENDS


TASK_STATES: Mapping[str, TaskState] = {
    "task_queued": "queued",
    "task_started": "started",
    "task_retried": "queued",
    "task_finished": "finished",
    "task_failed": "failed",
    "task_dropped": "dropped",
}
_EVENTS = {*TASK_STATES, "loop_blocked"}
_T_NS = attrgetter("t_ns")
ENDS = ("finished", "failed", "dropped")
_FIELDS = ("where", "thread_id", "error", "traceback", "reason", "detail", "waited_ms")


def tasks_of(events: Iterable[Event]) -> list[Task]:
    """Build the tasks of one request from its ``events``, in the order of their numbers.

    A task that has ended stays ended, even if the broker delivers its message again. The exception is a task that
    finishes after it failed or was dropped: it counts as finished.
    """
    tasks: dict[int, Task] = {}
    for event in _in_order(events):
        detail = event.detail
        if event.name == "loop_blocked":
            if (task := tasks.get(detail.get("n", -1))) is not None:
                task.blocked_ms += detail.get("ms", 0.0)
            continue
        task = tasks.get(detail["n"])
        if task is None:
            task = tasks[detail["n"]] = Task(detail["task"], "queued", tries=0)
        _record(task, TASK_STATES[event.name], event)
    for task in tasks.values():
        task.tries = max(task.tries, 1)
    return [tasks[n] for n in sorted(tasks)]


def _record(task: Task, state: TaskState, event: Event) -> None:
    detail = event.detail
    if state != "queued" and _is_elsewhere(event):
        task.elsewhere, task.started_ns, task.ended_ns = True, None, None
    t_ns = None if task.elsewhere else event.t_ns
    if state == "started":
        task.tries += 1
        task.started_ns = t_ns if task.started_ns is None else task.started_ns
    if task.state in ENDS and not (state == "finished" and task.state != "finished"):
        return
    task.state = state
    for key in _FIELDS:
        if key in detail and detail[key] not in (None, ""):
            setattr(task, key, detail[key])
    if state == "finished":
        task.error = task.traceback = task.reason = task.dropped_ns = None  # of an earlier end
    if state == "dropped":
        task.dropped_ns = t_ns
    elif state in ENDS:
        task.ended_ns = t_ns


def ms_between(start_ns: int | None, t_ns: int | None) -> float | None:
    """Return the milliseconds between two monotonic times, None if one of them is None."""
    return None if start_ns is None or t_ns is None else (t_ns - start_ns) / 1e6


def marks_ms(tasks: Iterable[Task], ms: Callable[[int | None], float | None]) -> list[tuple[float | None, Mark]]:
    """Return when each task failed or was dropped, and None for the end of an open task: it was not seen."""
    marks: list[tuple[float | None, Mark]] = []
    for task in tasks:
        if task.state == "failed":
            marks.append((ms(task.ended_ns), "failed"))
        elif task.state == "dropped":
            marks.append((ms(task.dropped_ns), "dropped"))
        elif task.is_open:
            marks.append((None, "open"))
    return marks


def spans_ms(tasks: Iterable[Task], ms: Callable[[int | None], float | None]) -> list[tuple[float, float | None]]:
    """Return the start and end of each started task. ``ms`` converts a monotonic time to milliseconds."""
    return [(started, ms(task.ended_ns)) for task in tasks if (started := ms(task.started_ns)) is not None]


def _in_order(events: Iterable[Event]) -> list[Event]:
    """Sort by time. Events of a worker under another boot are last, because their times cannot be compared."""
    ordered = sorted((event for event in events if event.name in _EVENTS), key=_T_NS)
    ordered.sort(key=_is_elsewhere)
    return ordered


def _is_elsewhere(event: Event) -> bool:
    """Return whether a worker wrote the event under another boot than the server's."""
    server = event.detail.get("server")  # only in events of a worker
    if server is None:
        return False
    boot, slash, _ = server.rpartition("/")
    return bool(slash) and boot != event.detail.get("boot")
