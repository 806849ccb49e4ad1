"""The background tasks of one request, built from the server's events. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastbg.events import Event

Mark = Literal["failed", "dropped", "lost", "open"]
TaskState = Literal["queued", "started", "finished", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Task:
    """One background task as the server recorded it. Times are monotonic nanoseconds, None if it did not happen (yet).

    ``tries``: number of starts; a worker may start a task again. ``started_ns`` is the first start. ``elsewhere``: a
    worker ran it under another boot than the server's; both times are then None, because they cannot be compared.

    ``detail``: what is unusual about it, as a text: why it was dropped, or how it came to run.
    ``waited_ms``: time until a thread was free, None without a thread. ``blocked_ms``: total time for which its steps
    blocked the event loop; short steps are not counted.
    """

    name: str
    state: TaskState
    started_ns: int | None = None
    ended_ns: int | None = None
    dropped_ns: int | None = None
    where: str | None = None  # "thread", "loop" or "worker"
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
        return None if self.started_ns is None else self.started_ns - int((self.waited_ms or 0.0) * 1e6)

    @property
    def is_open(self) -> bool:
        return self.state not in _ENDS


_TASK_STATES: Mapping[str, TaskState] = {
    "task_queued": "queued",
    "task_started": "started",
    "task_retried": "queued",
    "task_finished": "finished",
    "task_failed": "failed",
    "task_dropped": "dropped",
}
_ENDS = ("finished", "failed", "dropped")
_FIELDS = ("where", "error", "traceback", "reason", "detail", "waited_ms")


def tasks_of(events: Iterable[Event]) -> list[Task]:
    """Build the tasks of one request from its ``events``, in the order of their numbers.

    A task that has ended stays ended, even if the broker delivers its message again. The exception is a task that
    finishes after it failed or was dropped: it counts as finished.
    """
    fields: dict[int, dict[str, Any]] = {}
    starts: Counter[int] = Counter()
    for event in _in_order(events):
        detail, state = event.detail, _TASK_STATES.get(event.name)
        if event.name == "loop_blocked" and detail.get("n") in fields:
            task = fields[detail["n"]]
            task["blocked_ms"] = task.get("blocked_ms", 0.0) + detail.get("ms", 0.0)
        if state is None:
            continue
        n = detail["n"]
        has_ended = n in fields and fields[n]["state"] in _ENDS
        task = fields.setdefault(n, {"name": detail["task"]})
        starts[n] += state == "started"
        elsewhere = _is_elsewhere(event)
        if elsewhere and state != "queued":
            task |= {"elsewhere": True, "started_ns": None, "ended_ns": None}
        timed = not task.get("elsewhere")
        if state == "started" and timed:
            task.setdefault("started_ns", event.t_ns)
        if has_ended and not (state == "finished" and task["state"] != "finished"):
            continue
        task["state"] = state
        task |= {key: detail[key] for key in _FIELDS if detail.get(key) not in (None, "")}
        if state == "finished":
            for key in ("error", "traceback", "reason", "dropped_ns"):  # of an earlier end
                task.pop(key, None)
        if state in ("finished", "failed") and timed:
            task["ended_ns"] = event.t_ns
        if state == "dropped" and timed:
            task["dropped_ns"] = event.t_ns
    return [Task(**fields[n], tries=max(starts[n], 1)) for n in sorted(fields)]


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
    return sorted(events, key=lambda event: (_is_elsewhere(event), event.t_ns))


def _is_elsewhere(event: Event) -> bool:
    """Return whether a worker wrote the event under another boot than the server's."""
    server = event.detail.get("server")  # only in events of a worker
    if server is None:
        return False
    boot, slash, _ = server.rpartition("/")
    return bool(slash) and boot != event.detail.get("boot")
