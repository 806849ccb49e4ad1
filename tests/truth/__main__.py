"""``python -m tests.truth``: compares fastbg's times and verdicts with the kernel's. Takes some minutes.

Exit code: 1 where a verdict is contradicted, a stamp cannot be true, or a time is further off than it may be; 2 where
the kernel does not let us look.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.truth.compare import ORDERS, STAMPS, Order, Pair, Spread, contradictions, told, verdicts
from tests.truth.kernel import UnavailableError
from tests.truth.runs import Asked, Bare, Bench, bench, hogs

HOGS = 2
MAX_MS = 1.0  # p99 of each error on an idle machine, or what the least that can be done costs there
INSTANT = (Asked("/thread"), Asked("/loop"), Asked("/foreground"))
SLOW = (Asked("/loop?work=0.5"), Asked("/loop?work=0.5", after_tasks=True))
BUSY = SLOW[:1]  # the client sends one after the other, while the tasks of the earlier ones wait
CROWD = (Asked("/thread?work=0.5"), Asked("/thread?work=0.5", after_tasks=True))
SERIES: tuple[tuple[str, Sequence[Asked], int, int, float], ...] = (
    ("0 s, 1 at once", INSTANT, 400, 1, 0),
    ("0.5 s, 1 at once", SLOW, 200, 1, 0.5),
    ("0.5 s, without a pause", BUSY, 1000, 1, 0.5),
    ("0.5 s, 20 at once", CROWD, 500, 20, 0.5),
)
HARD = (  # what is beside the rule: a task and a thread that the app starts by itself, and a big response
    (Asked("/racing?most=0.001"), 1000, 2),
    (Asked("/stray?most=0.0005"), 1000, 2),
    (Asked("/big?size=1000000"), 100, 1),
)


@dataclass(slots=True)
class Report:
    """What was found: a row for each kind of error, how often each verdict came, and what is wrong."""

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
            "the least, p50",
            "p99",
            title="errors, ms",
        )
    )
    counts: "Counter[tuple[str, str, str, str, Order]]" = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    waiting: int = 0
    big: int = 0

    def add_errors(self, pairs: Sequence[Pair], work: str, machine: str, bare: Bare) -> None:
        """A row for each stamp of these requests, and a fault where it may not be so far off."""
        least = {"response complete": bare.response, "write seen": bare.write}
        for stamp in STAMPS:
            found = Spread.of(stamp.errors(pairs))
            floor = Spread.of(least[stamp.name]) if stamp.name in least else None
            values = (found.lowest, found.p50, found.p99, found.highest)
            floors = ("", "") if floor is None else (_ms(floor.p50), _ms(floor.p99))
            name = f"{stamp.name}, early" if stamp.early else f"{stamp.name}, late"
            self.errors.add_row(name, work, machine, str(found.count), *map(_ms, values), *floors)
            most_ns = max(MAX_MS * 1e6, floor.p99 if floor else 0)
            if machine == "idle" and work.endswith(", 1 at once") and found.p99 > most_ns:
                must = f"{_ms(most_ns)} ms ({MAX_MS:g} ms, or the least if that is more)"
                self.wrong.append(f"{stamp.name}, {work}: p99 is {_ms(found.p99)} ms, must be <= {must}")

    def add_verdicts(self, pairs: Sequence[Pair], machine: str) -> None:
        """Count these verdicts, and look for what cannot be."""
        for key, count in verdicts(pairs).items():
            self.counts[machine, *key] += count
        self.wrong += map(told, contradictions(pairs))
        for stamp in STAMPS:
            if wrong := stamp.wrong(pairs):
                self.wrong.append(f"{wrong} stamps of {stamp.name!r} cannot be true")
        small = [truth for said, truth in pairs if said.trace.name != "big"]
        big = [truth for said, truth in pairs if said.trace.name == "big"]
        agreeing = sum(truth.witnesses_agree for truth in small)
        if agreeing < len(small):
            self.wrong.append(f"{len(small) - agreeing} small responses left outside the call that sent them")
        self.big += len(big)
        self.waiting += sum(truth.left_ns > truth.write.end_ns for truth in big)

    @property
    def verdicts(self) -> Table:
        """What fastbg said, and what was so."""
        table = Table("machine", "request", "fastbg said", "by", *ORDERS, title="verdicts, and what was so")
        for machine, name, verdict, evidence in sorted({key[:4] for key in self.counts}):
            so = (self.counts[machine, name, verdict, evidence, order] for order in ORDERS)
            table.add_row(machine, name, verdict, evidence, *(str(count or "") for count in so))
        return table


def main() -> int:
    report = Report()
    try:
        with bench() as place:
            for machine in ("idle", "loaded"):
                with ExitStack() as stack:
                    if machine == "loaded":
                        stack.enter_context(hogs(HOGS))
                    _measure(place, machine, report)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console(width=140)
    console.print(report.errors, report.verdicts)
    console.print(f"{report.waiting} of {report.big} big responses had not left as a whole when the write ended.")
    console.print(f"{report.counts.total()} requests, {len(report.wrong)} faults", *report.wrong, sep="\n")
    return min(len(report.wrong), 1)


def _measure(place: Bench, machine: str, report: Report) -> None:
    for name, asked, repeat, concurrency, work_s in SERIES:
        pairs = place.fire(asked, repeat, concurrency)
        report.add_verdicts(pairs, machine)
        bare = place.bare(asked[0], 1000, concurrency, work_s)
        report.add_errors(pairs, name, machine, bare)
    report.add_verdicts(place.fire(INSTANT, 1300, 10), machine)
    for hard, repeat, concurrency in HARD:
        report.add_verdicts(place.fire([hard], repeat, concurrency), machine)


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.3f}"


if __name__ == "__main__":
    sys.exit(main())
