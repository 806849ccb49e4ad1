"""``python -m tests.truth``: compares fastbg's times and verdicts with the kernel's. Takes some minutes.

Exit code 1: a wrong verdict, an impossible timestamp, or an error above its limit. Exit code 2: tracing is not
permitted.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.truth.compare import ORDERS, STAMPS, Order, Pair, Spread, contradictions, describe, verdicts
from tests.truth.kernel import UnavailableError
from tests.truth.runs import Baseline, RequestSpec, TruthServer, busy_processes, truth_server

BUSY_PROCESSES = 2
MAX_MS = 1.0  # limit for the p99 of each error on an idle machine, or the p99 of the baseline if that is larger
INSTANT = (RequestSpec("/thread"), RequestSpec("/loop"), RequestSpec("/foreground"))
SLOW = (RequestSpec("/loop?work=0.5"), RequestSpec("/loop?work=0.5", after_tasks=True))
BUSY = SLOW[:1]  # the client sends in sequence while earlier tasks wait
PARALLEL = (RequestSpec("/thread?work=0.5"), RequestSpec("/thread?work=0.5", after_tasks=True))
SERIES: tuple[tuple[str, Sequence[RequestSpec], int, int, float], ...] = (
    ("0 s, 1 at a time", INSTANT, 400, 1, 0),
    ("0.5 s, 1 at a time", SLOW, 200, 1, 0.5),
    ("0.5 s, without a pause", BUSY, 1000, 1, 0.5),
    ("0.5 s, 20 in parallel", PARALLEL, 500, 20, 0.5),
)
HARD = (  # special cases: a task and a thread that the app starts by itself, and a large response
    (RequestSpec("/racing?most=0.001"), 1000, 2),
    (RequestSpec("/stray?most=0.0005"), 1000, 2),
    (RequestSpec("/big?size=1000000"), 100, 1),
)


@dataclass(slots=True)
class Report:
    """The results: errors of timestamps, counts of verdicts, and faults."""

    errors: Table = field(
        default_factory=lambda: Table(
            "stamp",
            "work",
            "machine",
            "n",
            "lowest",
            "p50",
            "p99",
            "highest",
            "baseline, p50",
            "p99",
            title="errors, ms",
        )
    )
    counts: "Counter[tuple[str, str, str, str, Order]]" = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    waiting: int = 0
    big: int = 0

    def add_errors(self, pairs: Sequence[Pair], work: str, machine: str, baseline: Baseline) -> None:
        """Add a row for each timestamp, and a fault if its error is above the limit."""
        least = {"response complete": baseline.response, "write seen": baseline.write}
        for stamp in STAMPS:
            found = Spread.of(stamp.errors(pairs))
            floor = Spread.of(least[stamp.name]) if stamp.name in least else None
            values = (found.lowest, found.p50, found.p99, found.highest)
            floors = ("", "") if floor is None else (_ms(floor.p50), _ms(floor.p99))
            name = f"{stamp.name}, early" if stamp.early else f"{stamp.name}, late"
            self.errors.add_row(name, work, machine, str(found.count), *map(_ms, values), *floors)
            most_ns = max(MAX_MS * 1e6, floor.p99 if floor else 0)
            if machine == "idle" and work.endswith(", 1 at a time") and found.p99 > most_ns:
                must = f"{_ms(most_ns)} ms ({MAX_MS:g} ms, or the baseline if larger)"
                self.wrong.append(f"{stamp.name}, {work}: p99 is {_ms(found.p99)} ms, must be <= {must}")

    def add_verdicts(self, pairs: Sequence[Pair], machine: str) -> None:
        """Count verdicts, and add faults for impossible ones."""
        for key, count in verdicts(pairs).items():
            self.counts[machine, *key] += count
        self.wrong += map(describe, contradictions(pairs))
        for stamp in STAMPS:
            if wrong := stamp.wrong(pairs):
                self.wrong.append(f"{wrong} impossible timestamps of {stamp.name!r}")
        small = [truth for said, truth in pairs if said.trace.name != "big"]
        big = [truth for said, truth in pairs if said.trace.name == "big"]
        agreeing = sum(truth.sources_agree for truth in small)
        if agreeing < len(small):
            self.wrong.append(f"{len(small) - agreeing} small responses were sent outside of their system call")
        self.big += len(big)
        self.waiting += sum(truth.left_ns > truth.write.end_ns for truth in big)

    @property
    def verdicts(self) -> Table:
        """A table of fastbg's verdicts and the real orders."""
        table = Table("machine", "request", "verdict", "evidence", *ORDERS, title="verdicts and real orders")
        for machine, name, verdict, evidence in sorted({key[:4] for key in self.counts}):
            so = (self.counts[machine, name, verdict, evidence, order] for order in ORDERS)
            table.add_row(machine, name, verdict, evidence, *(str(count or "") for count in so))
        return table


def main() -> int:
    report = Report()
    try:
        with truth_server() as server:
            for machine in ("idle", "loaded"):
                with ExitStack() as stack:
                    if machine == "loaded":
                        stack.enter_context(busy_processes(BUSY_PROCESSES))
                    _measure(server, machine, report)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console(width=140)
    console.print(report.errors, report.verdicts)
    console.print(f"{report.waiting} of {report.big} large responses were not completely sent when the write ended.")
    console.print(f"{report.counts.total()} requests, {len(report.wrong)} faults", *report.wrong, sep="\n")
    return min(len(report.wrong), 1)


def _measure(server: TruthServer, machine: str, report: Report) -> None:
    for name, specs, repeat, concurrency, work_s in SERIES:
        pairs = server.send(specs, repeat, concurrency)
        report.add_verdicts(pairs, machine)
        baseline = server.baseline(specs[0], 1000, concurrency, work_s)
        report.add_errors(pairs, name, machine, baseline)
    report.add_verdicts(server.send(INSTANT, 1300, 10), machine)
    for hard, repeat, concurrency in HARD:
        report.add_verdicts(server.send([hard], repeat, concurrency), machine)


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.3f}"


if __name__ == "__main__":
    sys.exit(main())
