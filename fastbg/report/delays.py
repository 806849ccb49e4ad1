"""What tasks did to the server and to each other: blocked event loops, waits for a thread, and other remarks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.tasks import Task
from fastbg.report.lines import LONG_WAIT_MS
from fastbg.report.numbers import milliseconds


@dataclass(frozen=True, slots=True)
class Told:
    """A request of a report. ``reason``: of its verdict, which is already shown. ``error``: what the app raised."""

    name: str
    tasks: Sequence[Task]
    reason: str | None
    error: str | None = None


def delays(requests: Iterable[Told]) -> Iterator[str]:
    """Yield a sentence for each task that blocked the event loop, or waited long for a thread.

    Tasks of one name are told once, with the longest time.
    """
    blocked: dict[str, float] = {}
    waited: dict[str, float] = {}
    for request in requests:
        for task in request.tasks:
            name = f"{request.name}: {task.name}"
            blocked[name] = max(blocked.get(name, 0.0), task.blocked_ms)
            waited[name] = max(waited.get(name, 0.0), task.waited_ms or 0.0)
    yield from (f"{name} blocked the event loop for {milliseconds(ms)} ms" for name, ms in blocked.items() if ms)
    yield from (
        f"{name} waited up to {milliseconds(ms)} ms for a thread" for name, ms in waited.items() if ms >= LONG_WAIT_MS
    )


def blocked_places(places: Iterable[BlockedPlace]) -> Iterator[str]:
    """Yield a sentence for each place outside of tasks that blocked the event loop."""
    for each in places:
        times = [] if each.count == 1 else [f"the longest of {each.count} times"]
        details = ", ".join([*([each.path] if each.path else []), *times])
        sentence = f"{typed_place(each.place)} blocked the event loop for {milliseconds(each.ms)} ms"
        yield f"{sentence} ({details})" if details else sentence


def typed_place(place: str) -> str:
    """Return ``file:line in function`` with the path relative to the current folder if it is below it."""
    return place.removeprefix(f"{Path.cwd()}/")


def notes(requests: Iterable[Told]) -> Iterator[str]:
    """Yield what is unusual about tasks that finished, and what the app raised; each sentence once."""
    found: dict[str, None] = {}
    for request in requests:
        known = request.reason or ""
        for task in request.tasks:
            if task.detail and task.state == "finished" and task.detail not in known:
                found[f"{request.name}: {task.name}: {task.detail}"] = None
        if request.error and request.error not in known:
            found[f"{request.name}: the app raised {request.error}"] = None
    return iter(found)
