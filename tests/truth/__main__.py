"""``python -m tests.truth``: compares fastbg's times and verdicts with the kernel's. Takes 10 to 30 minutes.

``python -m tests.truth verdicts`` compares only the verdicts, ``times`` only the times. ``--requests``: how many
requests all servers together get for the verdicts. ``--server gunicorn``: only servers with
this word in their names.

Exit code 1: a verdict that the kernel contradicts, too many unproven ones under uvicorn, an impossible timestamp, or an
error above its limit. Exit code 2: tracing is not permitted.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.truth.compare import STAMPS, Pair, Spread
from tests.truth.kernel import Tracing, UnavailableError
from tests.truth.orders import Compared, reason_of, unproven_share
from tests.truth.runs import Baseline, RequestSpec, TruthServer, busy_processes, truth_server
from tests.truth.servers import SERVERS, Server, serve
from tests.truth.shapes import SHAPES
from tests.truth.verdicts import compare

REQUESTS = 20_000
MAX_UNPROVEN = 0.02  # of the verdicts under uvicorn where the kernel's order is clear
MAX_NAMED = 20  # contradictions
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


@dataclass(slots=True)
class TimesReport:
    """The errors of timestamps, and faults."""

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
    wrong: list[str] = field(default_factory=list)

    def add(self, pairs: Sequence[Pair], work: str, machine: str, baseline: Baseline) -> None:
        """Add a row for each timestamp, and a fault if it is impossible, or its error is above the limit."""
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
            if wrong := stamp.wrong(pairs):
                self.wrong.append(f"{wrong} impossible timestamps of {stamp.name!r}")
        if outside := sum(not truth.sources_agree for _, truth in pairs):
            self.wrong.append(f"{outside} responses were sent outside of their system call")


@dataclass(slots=True)
class VerdictsReport:
    """A row per server, the reasons of unproven verdicts, and faults."""

    servers: Table = field(
        default_factory=lambda: Table(
            "server",
            "requests",
            "verdicts",
            "agree",
            "by the call",
            "unclear",
            "unproven",
            "of clear",
            "share",
            "contradictions",
            title="verdicts and the kernel's order",
        )
    )
    reasons: Table = field(default_factory=lambda: Table("server", "n", "request", "by", "reason", title="unproven"))
    wrong: list[str] = field(default_factory=list)
    requests: int = 0

    def add(self, server: Server, compared: Sequence[Compared]) -> None:
        """Add the verdicts of a server."""
        requests = len({each.request_id for each in compared})
        self.requests += requests
        unproven, clear = unproven_share(compared)
        contradictions = [each for each in compared if each.outcome == "contradiction"]
        outcomes = Counter(each.outcome for each in compared)
        counts = (requests, len(compared), outcomes["agrees"], outcomes["by the call"], outcomes["unclear"])
        share = f"{unproven / clear:.2%}"
        self.servers.add_row(server.name, *map(str, (*counts, unproven, clear)), share, str(len(contradictions)))
        self.wrong += [f"{server.name}: {each}" for each in contradictions[:MAX_NAMED]]
        self.wrong += [f"{server.name}: more contradictions"] * (len(contradictions) > MAX_NAMED)
        if server.is_uvicorn and unproven > MAX_UNPROVEN * clear:
            self.wrong.append(f"{server.name}: {share} of the verdicts are unproven, must be <= {MAX_UNPROVEN:.0%}")
        reasons = Counter(
            (each.shape, each.witness, reason_of(each.judgement)) for each in compared if each.outcome == "unproven"
        )
        if server.is_uvicorn:
            for (shape, witness, reason), count in reasons.most_common():
                self.reasons.add_row(server.name, str(count), shape, witness, reason)
        else:
            for reason, count in Counter(each[2] for each in reasons.elements()).most_common():
                self.reasons.add_row(server.name, str(count), "", "", reason)


def _table_of(server: Server, compared: Sequence[Compared]) -> Table:
    """Return a table of shapes, verdicts and the kernel's orders."""
    table = Table("request", "by", "verdict", "evidence", "kernel's order", "n", "", title=server.name)
    places = {shape.name: place for place, shape in enumerate(SHAPES)}
    counts = Counter(
        (
            places[each.shape],
            each.witness,
            each.judgement.verdict,
            ", ".join(each.judgement.evidence),
            each.order,
            each.outcome,
        )
        for each in compared
    )
    for (place, *columns, outcome), count in sorted(counts.items()):
        said = "" if outcome == "agrees" else outcome
        table.add_row(SHAPES[place].name, *map(str, columns), str(count), said)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.truth")
    parser.add_argument("part", nargs="?", choices=("all", "times", "verdicts"), default="all")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="for the verdicts, all servers together")
    parser.add_argument("--server", default="", help="only the servers with this word in their name")
    options = parser.parse_args()
    console = Console(width=180 if not sys.stdout.isatty() else None)
    wrong: list[str] = []
    try:
        if options.part != "times":
            wrong += _measure_verdicts(
                [each for each in SERVERS if options.server in each.name], options.requests, console
            )
        if options.part != "verdicts":
            wrong += _measure_times(console)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    console.print(f"{len(wrong)} faults", *wrong, sep="\n", markup=False)
    return min(len(wrong), 1)


def _measure_verdicts(servers: Sequence[Server], requests: int, console: Console) -> list[str]:
    report = VerdictsReport()
    installed = [server for server in servers if not server.missing]
    repeat = ceil(requests / max(len(installed), 1) / sum(shape.share for shape in SHAPES))
    with Tracing() as tracing:
        for server in servers:
            if server.missing:
                report.servers.add_row(server.name, f"not installed: {', '.join(server.missing)}")
                continue
            with (
                tempfile.TemporaryDirectory(prefix="fastbg-truth-") as name,
                serve(server, Path(name), tracing.marker) as running,
            ):
                compared = list(compare(running, tracing, SHAPES, repeat))
            report.add(server, compared)
            console.print(_table_of(server, compared))
    console.print(report.reasons, report.servers, f"{report.requests} requests")
    return report.wrong


def _measure_times(console: Console) -> list[str]:
    report = TimesReport()
    with truth_server() as server:
        for machine in ("idle", "loaded"):
            with ExitStack() as stack:
                if machine == "loaded":
                    stack.enter_context(busy_processes(BUSY_PROCESSES))
                _measure_series(server, machine, report)
    console.print(report.errors)
    return report.wrong


def _measure_series(server: TruthServer, machine: str, report: TimesReport) -> None:
    for name, specs, repeat, concurrency, work_s in SERIES:
        pairs = server.send(specs, repeat, concurrency)
        report.add(pairs, name, machine, server.baseline(specs[0], 1000, concurrency, work_s))


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.3f}"


if __name__ == "__main__":
    sys.exit(main())
