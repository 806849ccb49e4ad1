"""What tasks did to the server and to each other: blocked event loops, waits for a thread, and other remarks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.tasks import Task
from fastbg.report.lines import LONG_WAIT_MS
from fastbg.report.numbers import milliseconds

Told = tuple[str, Sequence[Task], str | None]
"""The name of a request, its tasks, and the reason of its verdict, which is already shown."""


def delays(requests: Iterable[Told]) -> Iterator[str]:
    """Yield a sentence for each task that blocked the event loop, or waited long for a thread.

    Tasks of one name are told once, with the longest time.
    """
    blocked: dict[str, float] = {}
    waited: dict[str, float] = {}
    for request, tasks, _ in requests:
        for task in tasks:
            name = f"{request}: {task.name}"
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
    """Yield what is unusual about tasks that finished; each sentence once."""
    found = (
        f"{request}: {task.name}: {task.detail}"
        for request, tasks, reason in requests
        for task in tasks
        if task.detail and task.state == "finished" and task.detail not in (reason or "")
    )
    return iter(dict.fromkeys(found))
