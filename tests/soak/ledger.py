"""What was sent, what is to be found of it, and what was found. Every entry is accounted for once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES = ("README.md", "log.txt")
PREFIX = "soak-"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: its address, what it appends to which file, and how many tasks it queues."""

    request_id: str
    path: str
    query: dict[str, str]
    writes: tuple[tuple[str, str], ...]
    tasks: int

    @property
    def events(self) -> Counter[tuple[str, int | None]]:
        """The events that the journal has to tell of it: name and number of the task."""
        whole = ("request_received", "response_sent", "request_finished")
        task = ("task_queued", "task_started", "task_finished")
        return Counter([*((name, None) for name in whole), *((name, n) for n in range(self.tasks) for name in task)])


def requests() -> Iterator[Sent]:
    """Requests to the example app without end; no two write the same text."""
    number = 0
    while True:
        mark = f"{PREFIX}{number}"
        heading = ("README.md", f"\n## {mark} 框架精讲")
        lines = (("log.txt", f"found query: {mark}\n"), ("log.txt", f"message to {mark}@example.com\n"))
        framework = {"framework": mark}
        yield (
            Sent(mark, "/background_tasks", framework, (heading,), 1),
            Sent(mark, f"/send-notification/{mark}@example.com", {"q": mark}, lines, 2),
            Sent(mark, "/foreground_tasks", framework, (heading,), 0),
            Sent(mark, f"/send-notification/{mark}@example.com", {}, lines[1:], 1),
        )[number % 4]
        number += 1


@dataclass(slots=True)
class Ledger:
    """``answered``: requests that were. ``complete``: of these, those whose events have all come once.

    ``lines``: all that tail has shown.
    """

    sent: int = 0
    answered: int = 0
    lines: int = 0
    events: int = 0
    expected: dict[str, list[str]] = field(default_factory=lambda: {file: [] for file in FILES})
    followed: dict[str, list[str]] = field(default_factory=lambda: {file: [] for file in FILES})
    faults: list[str] = field(default_factory=list)
    _open: dict[str, Counter[tuple[str, int | None]]] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    @property
    def complete(self) -> int:
        return len(self._done)

    def send(self, request: Sent) -> None:
        """``request`` is about to be sent."""
        self.sent += 1
        self._open[request.request_id] = request.events
        for file, text in request.writes:
            self.expected[file].append(text)

    def tell(self, line: dict[str, Any]) -> None:
        """A line of ``fastbg tail --journal --json``."""
        self.lines += 1
        if line["source"] == "notice":
            if line["kind"] in ("skipped", "truncated", "replaced", "refused"):
                self.faults.append(f"tail says of {line['file']}: {line['message']}")
        elif line["source"] == "file":
            end = "\n" if line["complete"] else ""
            self.followed[Path(line["file"]).name].append(line["text"] + end)
        elif line["event"] is None:
            self.faults.append(f"no event in the journal: {line['text']!r}")
        elif (line["request"] or "").startswith(PREFIX):
            self._tell(line["request"], (line["event"], line["detail"].get("n")))

    def _tell(self, request: str, event: tuple[str, int | None]) -> None:
        self.events += 1
        awaited = self._open.get(request, Counter())
        if awaited[event] < 1:
            self.faults.append(f"{request}: {event} came once too often")
            return
        awaited[event] -= 1
        if not +awaited:
            del self._open[request]
            self._done.add(request)

    def missing(self) -> list[str]:
        """What has not come to the journal, or to who follows it."""
        return [f"{request}: no {sorted(map(str, +awaited))}" for request, awaited in self._open.items()]

    def compare(self, folder: Path) -> list[str]:
        """How the files, and what was followed of them, differ from what was sent."""
        faults = []
        for file in FILES:
            content = (folder / file).read_text(encoding="utf-8")
            # All texts begin with a line end, or all of them end with one: their order does not matter to the lines.
            found, expected = Counter(content.split("\n")), Counter("".join(self.expected[file]).split("\n"))
            faults += [f"{file}: {count} x {line!r} too few" for line, count in (expected - found).items()]
            faults += [f"{file}: {count} x {line!r} too many" for line, count in (found - expected).items()]
        return faults + [f"{file}: tail has shown something else than there is" for file in self.unlike(folder)]

    def unlike(self, folder: Path) -> list[str]:
        """The files that are not what was followed of them."""
        return [file for file in FILES if "".join(self.followed[file]) != (folder / file).read_text(encoding="utf-8")]
