"""What fastbg said of requests beside what was so. Pure: no I/O, no clock."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from tests.truth.kernel import Call

Order = Literal["response-first", "work-first", "at once"]
ORDERS: tuple[Order, ...] = ("response-first", "work-first", "at once")
MARGIN_NS = 1000  # the trace is told to the microsecond


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one request: the call that handed the last byte of the response to the kernel, when that byte left, when the
    task began (None without one), and the call that wrote.
    """

    send: Call
    left_ns: int
    started_ns: int | None
    write: Call

    @property
    def sent_ns(self) -> int:
        """When the kernel had the last byte; the end of a big response may have to wait there for its client."""
        return min(self.left_ns, self.send.end_ns)

    @property
    def witnesses_agree(self) -> bool:
        """Whether the last byte left while the call went on that sent it, as that of a small response has to."""
        return self.send.begin_ns - MARGIN_NS <= self.left_ns <= self.send.end_ns + MARGIN_NS

    @property
    def order(self) -> Order:
        """What came first; "at once": the response was sent during the call that wrote."""
        if self.sent_ns < self.write.begin_ns - MARGIN_NS:
            return "response-first"
        return "work-first" if self.write.end_ns + MARGIN_NS < self.sent_ns else "at once"


Pair = tuple[RequestResult, Truth]


def contradictions(pairs: Iterable[Pair]) -> list[Pair]:
    """Those whose verdict says the opposite of what was so, or that the work was not done."""
    possible: dict[str, set[Order]] = {
        "response-first": {"response-first", "at once"},
        "work-first": {"work-first", "at once"},
        "unproven": set(ORDERS),
    }
    return [(said, truth) for said, truth in pairs if truth.order not in possible.get(said.judgement.verdict, set())]


def told(pair: Pair) -> str:
    """A contradiction, for people."""
    said, truth = pair
    verdict = f"{said.judgement.verdict} by {' and '.join(said.judgement.evidence) or 'nothing'}"
    apart_us = (truth.write.end_ns - truth.sent_ns) / 1e3
    when = f"{apart_us:.0f} us after" if apart_us > 0 else f"{-apart_us:.0f} us before"
    return f"{said.name} {said.trace.request_id}: {verdict}, but the write ended {when} the last byte was sent"


def verdicts(pairs: Iterable[Pair]) -> "Counter[tuple[str, str, str, Order]]":
    """How many requests of that name had that verdict, by that evidence, and what was so."""
    return Counter(
        (said.trace.name, said.judgement.verdict, ", ".join(said.judgement.evidence), truth.order)
        for said, truth in pairs
    )


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time that fastbg tells: ``said``, None where it does not; and when it was so: ``true``.

    ``least``: what can be known from then on, at the earliest: a stamp that is earlier is wrong. With ``early``, the
    stamp is to be taken before the thing happens.
    """

    name: str
    said: Callable[[Trace], int | None]
    true: Callable[[Truth], int | None]
    least: Callable[[Truth], int | None]
    early: bool = False

    def errors(self, pairs: Iterable[Pair]) -> list[int]:
        """How much later than it was so it was stamped (``early``: earlier), in ns, for each request that has it."""
        both = [(self.said(said.trace), self.true(truth)) for said, truth in pairs]
        sign = -1 if self.early else 1
        return [sign * (said - true) for said, true in both if said is not None and true is not None]

    def wrong(self, pairs: Iterable[Pair]) -> int:
        """How many were stamped on the side where they cannot be true."""
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
    """Of errors in ns: how many there are, and percentiles of them."""

    count: int
    lowest: float
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread":
        at = quantiles(values, n=100, method="inclusive")
        return cls(len(values), min(values), at[49], at[98], max(values))
