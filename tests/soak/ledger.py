"""Records sent requests with their expected events and writes, and compares them with the observed ones."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES = ("README.md", "log.txt")
PREFIX = "soak-"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request. ``writes``: pairs of file and appended text. ``tasks``: number of queued tasks."""

    request_id: str
    path: str
    query: dict[str, str]
    writes: tuple[tuple[str, str], ...]
    tasks: int

    @property
    def events(self) -> Counter[tuple[str, int | None]]:
        """The expected events in the journal: name of the event and number of the task."""
        whole = ("request_received", "response_sent", "request_finished")
        task = ("task_queued", "task_started", "task_finished")
        return Counter([*((name, None) for name in whole), *((name, n) for n in range(self.tasks) for name in task)])


def requests() -> Iterator[Sent]:
    """Yield requests to the example app without end. Each writes a different text."""
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
    """Expected and observed events and writes. ``answered``: requests with a response. ``lines``: lines of tail.

    ``complete``: number of requests with each expected event exactly once.
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
        """Record a request before it is sent."""
        self.sent += 1
        self._open[request.request_id] = request.events
        for file, text in request.writes:
            self.expected[file].append(text)

    def add_line(self, line: dict[str, Any]) -> None:
        """Record a line of ``fastbg tail --journal --json``."""
        self.lines += 1
        if line["source"] == "notice":
            if line["kind"] in ("skipped", "truncated", "replaced", "refused"):
                self.faults.append(f"notice of tail about {line['file']}: {line['message']}")
        elif line["source"] == "file":
            end = "\n" if line["complete"] else ""
            self.followed[Path(line["file"]).name].append(line["text"] + end)
        elif line["event"] is None:
            self.faults.append(f"invalid line in the journal: {line['text']!r}")
        elif (line["request"] or "").startswith(PREFIX):
            self._add_event(line["request"], (line["event"], line["detail"].get("n")))

    def _add_event(self, request: str, event: tuple[str, int | None]) -> None:
        self.events += 1
        awaited = self._open.get(request, Counter())
        if awaited[event] < 1:
            self.faults.append(f"{request}: unexpected event {event}")
            return
        awaited[event] -= 1
        if not +awaited:
            del self._open[request]
            self._done.add(request)

    def missing(self) -> list[str]:
        """Return the events that were not observed."""
        return [f"{request}: missing {sorted(map(str, +awaited))}" for request, awaited in self._open.items()]

    def compare(self, folder: Path) -> list[str]:
        """Return the differences between expected and written texts, and between files and the output of tail."""
        faults = []
        for file in FILES:
            content = (folder / file).read_text(encoding="utf-8")
            # All texts of a file start with a newline, or all end with one. So the order does not change the lines.
            found, expected = Counter(content.split("\n")), Counter("".join(self.expected[file]).split("\n"))
            faults += [f"{file}: {count} x {line!r} missing" for line, count in (expected - found).items()]
            faults += [f"{file}: {count} x {line!r} unexpected" for line, count in (found - expected).items()]
        return faults + [f"{file}: the output of tail differs from the file" for file in self.differing_files(folder)]

    def differing_files(self, folder: Path) -> list[str]:
        """Return the files whose content differs from the output of tail."""
        return [file for file in FILES if "".join(self.followed[file]) != (folder / file).read_text(encoding="utf-8")]
