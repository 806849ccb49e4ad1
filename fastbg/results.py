"""The result of a run: what every report renders, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import get_args

from fastbg.events import Verdict
from fastbg.timeline import Judgement, Trace, judge, unmet


@dataclass(frozen=True, slots=True)
class RequestResult:
    """One request: what was seen, the verdict, and the expectations that it does not meet.

    Times are milliseconds from the moment the client sent the request, None where the thing was not seen.
    """

    trace: Trace
    judgement: Judgement
    unmet: tuple[str, ...]

    @classmethod
    def of(cls, trace: Trace) -> "RequestResult":
        judgement = judge(trace)
        return cls(trace, judgement, tuple(unmet(trace, judgement)))

    def ms(self, t_ns: int | None) -> float | None:
        """A monotonic time, in milliseconds from the moment the request was sent."""
        sent = self.trace.time("request_sent")
        return None if t_ns is None or sent is None else (t_ns - sent) / 1e6

    @property
    def name(self) -> str:
        return self.trace.name

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for."""
        return self.trace.settled or bool(self.trace.ended)

    @property
    def response_ms(self) -> float | None:
        return self.ms(self.trace.time("response_complete"))

    @property
    def spans_ms(self) -> list[tuple[float, float | None]]:
        """From when to when each task ran."""
        return [
            (started, self.ms(task.ended_ns))
            for task in self.trace.tasks
            if (started := self.ms(task.started_ns)) is not None
        ]

    @property
    def writes_ms(self) -> list[float]:
        """When each write was seen, in that order."""
        return [self.ms(write.t_ns) or 0.0 for write in self.trace.writes]

    @property
    def write_ms(self) -> float | None:
        """The first write that a follower saw."""
        return min(self.writes_ms, default=None)

    @property
    def lead_ms(self) -> float | None:
        """How much later than the response the first write was seen; negative where it was seen earlier."""
        response, write = self.response_ms, self.write_ms
        return None if response is None or write is None else write - response


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run of a script.

    ``server``: the app or the URL. ``journal``: the server's journal, None where it keeps none. ``work``: seconds of
    simulated work, None where the server is not ours. ``remarks``: what else a reader of the result has to know.
    ``stopped``: why the run ended early, or empty; ``stderr``: then the server's last lines there.
    """

    versions: dict[str, str]
    server: str
    directory: Path
    journal: Path | None
    files: tuple[Path, ...]
    work: float | None
    requests: tuple[RequestResult, ...]
    remarks: tuple[str, ...] = ()
    stopped: str = ""
    stderr: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every expectation was met and the run came to its end."""
        return not self.stopped and not any(request.unmet for request in self.requests)

    def count(self, verdict: Verdict) -> int:
        return sum(request.judgement.verdict == verdict for request in self.requests)

    @property
    def counts(self) -> dict[Verdict, int]:
        return {verdict: self.count(verdict) for verdict in get_args(Verdict)}

    def name_of(self, file: str) -> str:
        """A file's name in the data folder, or its whole path elsewhere."""
        path = Path(file)
        return str(path.relative_to(self.directory)) if path.is_relative_to(self.directory) else file

    @property
    def leads_ms(self) -> list[float]:
        """The leads of all requests that have one, ascending."""
        return sorted(request.lead_ms for request in self.requests if request.lead_ms is not None)


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile (``share`` from 0 to 1) of ascending values, or None without any."""
    if not ascending:
        return None
    return ascending[max(ceil(share * len(ascending)), 1) - 1]
