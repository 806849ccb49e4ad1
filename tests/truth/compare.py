"""Compares fastbg's results with the kernel's. Pure: no I/O, no clock."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from tests.truth.kernel import Call

Order = Literal["response-first", "work-first", "overlapping"]
ORDERS: tuple[Order, ...] = ("response-first", "work-first", "overlapping")
MARGIN_NS = 1000  # the resolution of the trace


@dataclass(frozen=True, slots=True)
class Truth:
    """The kernel's times of one request.

    ``send``: the call that passed the last byte of the response to the kernel. ``left_ns``: when that byte was sent.
    ``started_ns``: when the task started, None without a task. ``write``: the call that wrote.
    """

    send: Call
    left_ns: int
    started_ns: int | None
    write: Call

    @property
    def sent_ns(self) -> int:
        """When the kernel had the last byte. The end of a large response may wait there for its client."""
        return min(self.left_ns, self.send.end_ns)

    @property
    def sources_agree(self) -> bool:
        """Whether the last byte was sent during the call, which must be true for a small response."""
        return self.send.begin_ns - MARGIN_NS <= self.left_ns <= self.send.end_ns + MARGIN_NS

    @property
    def order(self) -> Order:
        """What was first; "overlapping": the response was sent during the call that wrote."""
        if self.sent_ns < self.write.begin_ns - MARGIN_NS:
            return "response-first"
        return "work-first" if self.write.end_ns + MARGIN_NS < self.sent_ns else "overlapping"


Pair = tuple[RequestResult, Truth]


def contradictions(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs with a verdict that contradicts the kernel."""
    possible: dict[str, set[Order]] = {
        "response-first": {"response-first", "overlapping"},
        "work-first": {"work-first", "overlapping"},
        "unproven": set(ORDERS),
    }
    return [(said, truth) for said, truth in pairs if truth.order not in possible.get(said.judgement.verdict, set())]


def describe(pair: Pair) -> str:
    """Describe a contradiction."""
    said, truth = pair
    verdict = f"{said.judgement.verdict} by {' and '.join(said.judgement.evidence) or 'nothing'}"
    apart_us = (truth.write.end_ns - truth.sent_ns) / 1e3
    when = f"{apart_us:.0f} us after" if apart_us > 0 else f"{-apart_us:.0f} us before"
    return f"{said.name} {said.trace.request_id}: {verdict}, but the write ended {when} the last byte was sent"


def verdicts(pairs: Iterable[Pair]) -> "Counter[tuple[str, str, str, Order]]":
    """Count requests by name, verdict, evidence and real order."""
    return Counter(
        (said.trace.name, said.judgement.verdict, ", ".join(said.judgement.evidence), truth.order)
        for said, truth in pairs
    )


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamp of fastbg. ``said``: its value, or None. ``true``: the kernel's time.

    ``least``: the earliest possible time; an earlier timestamp is wrong. ``early``: the timestamp is taken before the
    event, so later ones are wrong.
    """

    name: str
    said: Callable[[Trace], int | None]
    true: Callable[[Truth], int | None]
    least: Callable[[Truth], int | None]
    early: bool = False

    def errors(self, pairs: Iterable[Pair]) -> list[int]:
        """Return by how many ns each timestamp is late (``early``: early)."""
        both = [(self.said(said.trace), self.true(truth)) for said, truth in pairs]
        sign = -1 if self.early else 1
        return [sign * (said - true) for said, true in both if said is not None and true is not None]

    def wrong(self, pairs: Iterable[Pair]) -> int:
        """Return the number of impossible timestamps."""
        both = [(self.said(said.trace), self.least(truth)) for said, truth in pairs]
        errors = [said - least for said, least in both if said is not None and least is not None]
        return sum(error > MARGIN_NS if self.early else error < -MARGIN_NS for error in errors)


STAMPS = (
    Stamp("response complete", lambda t: t.time("response_complete"), lambda t: t.left_ns, lambda t: t.left_ns),
    Stamp("response sent", lambda t: t.time("response_sent"), lambda t: t.sent_ns, lambda t: t.sent_ns),
    Stamp("task started", lambda t: t.time("task_started"), lambda t: t.started_ns, lambda t: t.started_ns, early=True),
    Stamp(
        "write seen",
        lambda t: t.writes[0].t_ns if t.writes else None,
        lambda t: t.write.end_ns,
        lambda t: t.write.begin_ns,
    ),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """The number and the percentiles of errors in ns."""

    count: int
    lowest: float
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread":
        at = quantiles(values, n=100, method="inclusive")
        return cls(len(values), min(values), at[49], at[98], max(values))
