"""Compares fastbg's times with the kernel's. Pure: no I/O, no clock."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from tests.truth.kernel import Call
from tests.truth.orders import MARGIN_NS


@dataclass(frozen=True, slots=True)
class Times:
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


Pair = tuple[RequestResult, Times]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamp of fastbg. ``said``: its value, or None. ``true``: the kernel's time.

    ``least``: the earliest possible time; an earlier timestamp is wrong. ``early``: the timestamp is taken before the
    event, so later ones are wrong.
    """

    name: str
    said: Callable[[Trace], int | None]
    true: Callable[[Times], int | None]
    least: Callable[[Times], int | None]
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
