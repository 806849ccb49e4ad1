"""What the server's events say of the background tasks of one request. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastbg.events import Event

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

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
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
_KNOWN = ("where", "error", "reason", "waited_ms")


def tasks_of(events: Iterable[Event]) -> list[Task]:
    """The tasks that the events of one request describe, in the order of their numbers.

    What has ended stays so, though a message may be delivered again; but what was done was done, whatever was told of
    it before.
    """
    fields: dict[int, dict[str, Any]] = {}
    starts: Counter[int] = Counter()
    for event in _in_order(events):
        detail, state = event.detail, _TASK_STATES.get(event.name)
        if event.name == "loop_blocked" and detail["n"] in fields:
            task = fields[detail["n"]]
            task["blocked_ms"] = task.get("blocked_ms", 0.0) + detail.get("ms", 0.0)
        if state is None:
            continue
        n = detail["n"]
        task = fields.setdefault(n, {"name": detail["task"], "state": state})
        starts[n] += state == "started"
        elsewhere = _is_elsewhere(event)
        if elsewhere and state != "queued":
            task |= {"elsewhere": True, "started_ns": None, "ended_ns": None}
        timed = not task.get("elsewhere")
        if state == "started" and timed:
            task.setdefault("started_ns", event.t_ns)
        if task["state"] in _ENDS and not (state == "finished" and task["state"] != "finished"):
            continue
        task["state"] = state
        task |= {key: detail[key] for key in _KNOWN if detail.get(key) not in (None, "")}
        if state == "finished":
            task.pop("error", None)  # of an earlier try
        if state in ("finished", "failed") and timed:
            task["ended_ns"] = event.t_ns
    return [Task(**fields[n], tries=max(starts[n], 1)) for n in sorted(fields)]


def ms_between(begin_ns: int | None, t_ns: int | None) -> float | None:
    """Milliseconds from one monotonic time to another, None where one of them is not known."""
    return None if begin_ns is None or t_ns is None else (t_ns - begin_ns) / 1e6


def spans_ms(tasks: Iterable[Task], ms: Callable[[int | None], float | None]) -> list[tuple[float, float | None]]:
    """From when to when each task ran that has started; ``ms`` makes milliseconds of a monotonic time."""
    return [(started, ms(task.ended_ns)) for task in tasks if (started := ms(task.started_ns)) is not None]


def _in_order(events: Iterable[Event]) -> list[Event]:
    """By time; those of a worker under another boot come last, as their place among the others is not known."""
    return sorted(events, key=lambda event: (_is_elsewhere(event), event.t_ns))


def _is_elsewhere(event: Event) -> bool:
    """Whether it is a worker's, under another boot than that of the server that queued the task."""
    server = event.detail.get("server")  # which only a worker's events name
    if server is None:
        return False
    boot, slash, _ = server.rpartition("/")
    return bool(slash) and boot != event.detail.get("boot")
