"""The order of response and work that the kernel shows, and the verdicts that contradict it. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastbg.events import Verdict
from fastbg.evidence.verdict import Judgement
from tests.truth.kernel import Call, TracedRequest
from tests.truth.shapes import Shape

MARGIN_NS = 1000  # the resolution of the trace
ALERT = 24  # bytes of the record in which TLS 1.3 announces the end of a connection

Order = Literal[
    "response-first",  # all work began after the last byte was passed to the kernel
    "overlapping",  # none ended before that, some began before it and ended after it
    "work-first",  # some work ended before that
    "unclear",  # some work began or ended during that system call
    "no response",  # the last byte was not passed to the kernel
    "unfinished",  # some of the work that was due did not begin, or did not end
    "never ran",  # work was due, and none of it began
    "no work",
]
ORDERS: tuple[Order, ...] = Order.__args__  # type: ignore[attr-defined]
CLEAR = frozenset(ORDERS) - {"unclear", "no response"}
Outcome = Literal["agrees", "by the call", "unclear", "unproven", "contradiction"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work from its beginning to its end, in monotonic nanoseconds. ``end_ns``: None if it did not end."""

    begin_ns: int
    end_ns: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """What the kernel saw of one request.

    ``handover``: the call that passed the last byte to the kernel, None if there was none. ``tasks``: when the
    functions of the tasks ran. ``writes``: the calls that wrote. ``missing_tasks``, ``missing_writes``: how many more
    were due. ``call``: Starlette's call of the task, if the app makes it itself. It includes the wait for a thread, and
    at the end the wait of this thread for the interpreter.
    """

    handover: Call | None
    tasks: Sequence[Span]
    writes: Sequence[Span]
    missing_tasks: int = 0
    missing_writes: int = 0
    call: Span | None = None

    @classmethod
    def of(cls, shape: Shape, traced: TracedRequest, *, complete: bool, tls: bool) -> "Truth":
        """``complete``: the client has the complete response. ``tls``: the connection is encrypted."""
        tasks = [Span(begin_ns, traced.ended_ns.get(name)) for name, begin_ns in traced.started_ns.items()]
        writes = [Span(call.begin_ns, call.end_ns) for call in traced.writes]
        handover = _handover(shape, traced, tls=tls) if complete else None
        missing = shape.tasks + traced.made - len(tasks), len(shape.writes) - len(writes)
        call = None if traced.called_ns is None else Span(traced.called_ns, traced.returned_ns)
        return cls(handover, tasks, writes, *missing, call)

    @property
    def order(self) -> Order:
        """The order of the response and all work."""
        work = [*self.tasks, *self.writes]
        if self.missing_tasks or self.missing_writes:
            return "unfinished" if work else "never ran"
        return self.order_of(work)

    @property
    def order_of_tasks(self) -> Order:
        """The order of the response and the tasks, which is all that a server knows."""
        if self.missing_tasks:
            return "unfinished" if self.tasks else "never ran"
        return self.order_of(self.tasks)

    @property
    def call_overlaps(self) -> bool:
        """Whether the call of the task began before the last byte was passed to the kernel, and ended after that."""
        if self.handover is None or self.call is None:
            return False
        ends_after = self.call.end_ns is None or self.call.end_ns > self.handover.end_ns
        return self.call.begin_ns < self.handover.begin_ns and ends_after

    def order_of(self, work: Sequence[Span]) -> Order:
        ends = [span.end_ns for span in work if span.end_ns is not None]
        if len(ends) < len(work):
            return "unfinished"
        if not work:
            return "no work"
        if self.handover is None:
            return "no response"
        begin_ns, end_ns = self.handover.begin_ns - MARGIN_NS, self.handover.end_ns + MARGIN_NS
        if min(ends) < begin_ns:
            return "work-first"
        if all(span.begin_ns > end_ns for span in work):
            return "response-first"
        if any(span.begin_ns < begin_ns and (span.end_ns or 0) > end_ns for span in work) and min(ends) > end_ns:
            return "overlapping"
        return "unclear"


def _handover(shape: Shape, traced: TracedRequest, *, tls: bool) -> Call | None:
    """Return the last call that sent data. TLS then sends an alert, which is not part of the response."""
    sends = [call for call in traced.sends if not (tls and call.size == ALERT)]
    if not sends:
        return None
    if not shape.ends_with_connection:
        return sends[-1]
    return traced.closed and Call(sends[-1].begin_ns, traced.closed.end_ns)


@dataclass(frozen=True, slots=True)
class Compared:
    """A verdict of ``witness`` ("demo" or "report") about one request, and what the kernel saw of it."""

    shape: str
    witness: Literal["demo", "report"]
    judgement: Judgement
    truth: Truth
    request_id: str = ""

    @property
    def order(self) -> Order:
        """The order of the response and what the verdict is about."""
        verdict, evidence = self.judgement.verdict, self.judgement.evidence
        if self.witness == "report" or verdict == "overlapping":
            return self.truth.order_of_tasks
        if verdict == "response-first" and not any(each.startswith("server") for each in evidence):
            return self.truth.order_of(self.truth.writes)  # client and file prove nothing about a task
        return self.truth.order

    @property
    def outcome(self) -> Outcome:
        verdict, order, truth = self.judgement.verdict, self.order, self.truth
        if verdict == "unproven":
            return "unproven" if order in CLEAR else "unclear"
        if order in POSSIBLE[verdict]:
            return "unclear" if order == "unclear" else "agrees"
        if verdict == "overlapping" and order in ("response-first", "work-first") and truth.call_overlaps:
            return "by the call"
        return "contradiction"

    def __str__(self) -> str:
        """Describe the verdict and the kernel's times, relative to the call that passed the last byte."""
        evidence = " and ".join(self.judgement.evidence) or "nothing"
        handover = self.truth.handover
        base = handover.begin_ns if handover else 0
        times = [f"last byte passed from 0 us to {_us(handover.end_ns, base)}"] if handover else []
        for name, spans in (("task", self.truth.tasks), ("write", self.truth.writes)):
            times += [f"{name} from {_us(span.begin_ns, base)} to {_us(span.end_ns, base)}" for span in spans]
        said = f"{self.shape} {self.request_id}: {self.witness} says {self.judgement.verdict} by {evidence}"
        reason = f" ({self.judgement.reason})" if self.judgement.reason else ""
        return f"{said}{reason}; the kernel says {self.order}: {'; '.join(times)}"


# An unclear order contradicts none of the verdicts about an order.
POSSIBLE: Mapping[Verdict, tuple[Order, ...]] = {
    "response-first": ("response-first", "unclear"),
    "overlapping": ("overlapping", "unclear"),
    "work-first": ("work-first", "unclear"),
    "failed": ("unfinished",),
    "dropped": ("never ran", "unfinished"),
    "lost": ("never ran", "unfinished"),
    "no-work": ("no work",),
}


def _us(t_ns: int | None, base_ns: int) -> str:
    return "?" if t_ns is None else f"{(t_ns - base_ns) / 1e3:.0f} us"


def reason_of(judgement: Judgement) -> str:
    """Return the reason of an unproven verdict, without numbers, so that equal reasons can be counted."""
    return re.sub(r"\d+(\.\d+)?", "N", judgement.reason or "no reason")


def unproven_share(compared: Iterable[Compared]) -> tuple[int, int]:
    """Return how many verdicts are unproven, and how many there are, where the kernel's order is clear."""
    clear = [each for each in compared if each.order in CLEAR]
    return sum(each.outcome == "unproven" for each in clear), len(clear)
