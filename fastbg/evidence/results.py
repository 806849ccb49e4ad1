"""The result of a run: the input of every report."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import get_args

from fastbg.events import Verdict
from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.expectations import Unmet, unmet
from fastbg.evidence.tasks import Mark, marks_ms, spans_ms
from fastbg.evidence.trace import Trace
from fastbg.evidence.verdict import Judgement, judge


@dataclass(frozen=True, slots=True)
class RequestResult:
    """One request: its trace, its verdict, and its unmet expectations.

    Times are milliseconds since the client sent the request, None if not seen. ``of_many``: number of requests with
    this name.
    """

    trace: Trace
    judgement: Judgement
    unmet: tuple[Unmet, ...]
    of_many: int = 1

    @classmethod
    def of(cls, trace: Trace) -> "RequestResult":
        judgement = judge(trace)
        return cls(trace, judgement, tuple(unmet(trace, judgement)))

    def ms(self, t_ns: int | None) -> float | None:
        """Return a monotonic time in milliseconds since the request was sent."""
        return self.trace.ms(t_ns)

    @property
    def name(self) -> str:
        return self.trace.name if self.of_many == 1 else f"{self.trace.name}, {self.of_many} times"

    @property
    def part(self) -> str:
        return self.trace.request.part

    @property
    def full_name(self) -> str:
        """The name with the part, if the script has parts."""
        return full_name(self.part, self.name)

    @property
    def is_over(self) -> bool:
        """Whether the run no longer waits for this request."""
        return self.trace.settled or self.trace.ended is not None

    @property
    def response_ms(self) -> float | None:
        return self.ms(self.trace.time("response_complete"))

    @property
    def spans_ms(self) -> list[tuple[float, float | None]]:
        return [(start, self._cut_ms if end is None else end) for start, end in spans_ms(self.trace.tasks, self.ms)]

    @property
    def waited_ms(self) -> float | None:
        """How long the client waited, also if it got no response."""
        if self.response_ms is not None:
            return self.response_ms
        failed_ms = self.ms(self.trace.time("request_failed"))
        return self._cut_ms if failed_ms is None else failed_ms

    @property
    def _cut_ms(self) -> float | None:
        """When the server or the run ended before the request did, None if that did not happen."""
        return self.ms(self.trace.ended_ns) if self.trace.server_gone or self.trace.interrupted else None

    @property
    def marks_ms(self) -> list[tuple[float | None, Mark]]:
        """What did not end well, with its time; None for an open end."""
        cut: Mark = "lost" if self.trace.server_gone else "open"
        tasks = self.trace.tasks  # without a gone server, a task that has not started is no open end
        tasks = [task for task in tasks if self.trace.server_gone or task.started_ns is not None or not task.is_open]
        marks = marks_ms(tasks, self.ms)
        marks = [(self._cut_ms, cut) if mark == "open" else (ms, mark) for ms, mark in marks]
        if self.judgement.verdict == "lost" and self.trace.missing and not any(mark == "lost" for _, mark in marks):
            marks.append((None, "lost"))
        return marks

    @property
    def writes_ms(self) -> list[float]:
        """The time at which each write was seen, ascending."""
        return [self.ms(write.t_ns) or 0.0 for write in self.trace.writes]

    @property
    def write_ms(self) -> float | None:
        """The time at which the first write was seen."""
        return min(self.writes_ms, default=None)

    @property
    def lead_ms(self) -> float | None:
        """The time from the response to the first write; negative if the write was seen earlier."""
        response, write = self.response_ms, self.write_ms
        return None if response is None or write is None else write - response


def full_name(part: str, name: str) -> str:
    return f"{part}: {name}" if part else name


@dataclass(frozen=True, slots=True)
class OtherWrite:
    """A line that was seen in a followed file and that no request was expected to write.

    ``writer``: the request whose task wrote it, None if the journal leaves more than one or none.
    """

    file: str
    text: str
    t_ns: int
    writer: RequestResult | None = None


def _times() -> "array[float]":
    return array("d")


@dataclass(slots=True)
class Group:
    """All requests of one name in one part: their number, their verdicts, and their times in milliseconds.

    ``unmet``: number of requests with an unmet expectation. ``first``: the first request. ``outside_ms``: the leads
    that client and file prove. ``too_close``: number of written, response-first requests that only the server proves.
    """

    part: str
    name: str
    first: RequestResult
    count: int = 0
    unmet: int = 0
    verdicts: dict[Verdict, int] = field(default_factory=dict)
    responses_ms: "array[float]" = field(default_factory=_times)
    writes_ms: "array[float]" = field(default_factory=_times)
    leads_ms: "array[float]" = field(default_factory=_times)
    outside_ms: "array[float]" = field(default_factory=_times)
    too_close: int = 0

    @property
    def full_name(self) -> str:
        return full_name(self.part, self.name)

    def add(self, result: RequestResult) -> None:
        verdict = result.judgement.verdict
        self.count += 1
        self.unmet += bool(result.unmet)
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        for times, time in (
            (self.responses_ms, result.response_ms),
            (self.writes_ms, result.write_ms),
            (self.leads_ms, result.lead_ms),
        ):
            if time is not None:
                times.append(time)
        if verdict == "response-first" and result.lead_ms is not None:
            if "client+file" in result.judgement.evidence:
                self.outside_ms.append(result.lead_ms)
            else:
                self.too_close += 1


def add_to_groups(groups: dict[tuple[str, str], Group], result: RequestResult) -> None:
    """Count ``result`` in the group of its part and name."""
    key = result.part, result.trace.name
    groups.setdefault(key, Group(*key, result)).add(result)


@dataclass(frozen=True, slots=True, repr=False)  # asyncio.run makes it, twice: 0.1 s for 1000 requests
class RunResult:
    """One run of a script.

    ``name``: name of the script. ``server``: the app or the URL. ``journal``: the server's journal, None without one.
    ``server_log``: the file with the output of the servers, None if it is not kept. ``work``: seconds of simulated
    work, None if the app is not the example. ``groups``: all requests. ``requests``: the requests that reports show one
    by one; all of them in a run of ordinary length. ``others``: writes that no expectation describes. ``moral``: what
    the script concludes, with placeholders for measured values. ``remarks``: notes for the reader of the result.
    ``blocked``: what blocked the event loop of the server outside of tasks.
    ``warning``: the remark to show before the result, or None. ``begin_ns``, ``seconds``: monotonic time of the first
    request, and duration of the run. ``stopped``: why the run ended early, or empty. ``interrupted``: exit code of the
    signal that ended it, or 0. ``quit``: whether a key ended it. ``stderr``: the server's last lines on standard error
    if the run ended early.
    """

    versions: dict[str, str]
    name: str
    server: str
    directory: Path
    journal: Path | None
    files: tuple[Path, ...]
    work: float | None
    requests: tuple[RequestResult, ...]
    groups: tuple[Group, ...]
    folder: Path = Path()
    title: str = ""
    about: str = ""
    links: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    warning: str | None = None
    seconds: float = 0.0
    stopped: str = ""
    interrupted: int = 0
    quit: bool = False
    stderr: tuple[str, ...] = ()
    server_log: Path | None = None
    moral: str = ""
    begin_ns: int = 0
    others: tuple[OtherWrite, ...] = ()
    blocked: tuple[BlockedPlace, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.stopped and not self.unmet

    @property
    def total(self) -> int:
        return sum(group.count for group in self.groups)

    @property
    def unmet(self) -> int:
        """The number of requests with an unmet expectation."""
        return sum(group.unmet for group in self.groups)

    @property
    def is_load(self) -> bool:
        return any(group.count > 1 for group in self.groups)

    def count(self, verdict: Verdict) -> int:
        return sum(group.verdicts.get(verdict, 0) for group in self.groups)

    @property
    def counts(self) -> dict[Verdict, int]:
        return {verdict: self.count(verdict) for verdict in get_args(Verdict)}

    @property
    def representatives(self) -> tuple[RequestResult, ...]:
        """One request of each name, in their order: the first with an unmet expectation, or else the first."""
        first: dict[tuple[str, str], RequestResult] = {}
        counts: dict[tuple[str, str], int] = {}
        for request in self.requests:
            key = request.part, request.trace.name
            known = first.setdefault(key, request)
            if request.unmet and not known.unmet:
                first[key] = request
            counts[key] = counts.get(key, 0) + 1
        for group in self.groups:
            counts[group.part, group.name] = group.count
        return tuple(replace(request, of_many=counts[key]) for key, request in first.items())

    def name_of(self, file: str) -> str:
        """Return a file's path relative to the data folder or the app's folder, else its full path."""
        path = Path(file)
        for folder in (self.directory, self.folder):
            if path.is_relative_to(folder):
                return str(path.relative_to(folder))
        return file

    def times_ms(self, kind: str) -> list[float]:
        """Return all times of a ``kind`` ("responses_ms", "writes_ms", "leads_ms"), ascending."""
        return sorted(time for group in self.groups for time in getattr(group, kind))


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile (``share`` from 0 to 1) of ascending values, None without values."""
    if not ascending:
        return None
    return ascending[max(ceil(share * len(ascending)), 1) - 1]
