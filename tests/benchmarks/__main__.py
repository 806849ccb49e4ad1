"""``python -m tests.benchmarks [NAME ...]``: runs the benchmarks and prints a table. Needs ``wrk`` for the load."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.benchmarks.catalogue import limits
from tests.benchmarks.cells import recording
from tests.benchmarks.client import client_overhead, load_memory
from tests.benchmarks.events import event_costs
from tests.benchmarks.follow import follow_latency, tail_start
from tests.benchmarks.history import journal_memory, journal_reading
from tests.benchmarks.plugin import plugin_start
from tests.benchmarks.queue import queue
from tests.benchmarks.recorder import load
from tests.benchmarks.start import demo_time, help_start

BENCHMARKS = {
    "help": help_start,
    "tail": tail_start,
    "demo": demo_time,
    "follow": follow_latency,
    "load": load,
    "recording": recording,
    "events": event_costs,
    "client": client_overhead,
    "load-memory": load_memory,
    "history": journal_reading,
    "memory": journal_memory,
    "plugin": plugin_start,
    "queue": queue,
    "catalogue": limits,
}


def main(arguments: Sequence[str]) -> int:
    about = "\n".join(f"  {name:12} {(run.__doc__ or '').splitlines()[0]}" for name, run in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Runs the benchmarks and prints a table. Needs wrk for the load.",
        epilog=f"benchmarks:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="a benchmark; all of them by default")
    names: list[str] = parser.parse_args(arguments).name
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {' or '.join(unknown)}")
    table = Table("measured", "baseline, same run", "ratio", "limit", "", "values")
    missed = 0
    for name in names or BENCHMARKS:
        for row in BENCHMARKS[name]():
            table.add_row(row.what, row.floor, f"{row.ratio:.2f}", row.must, "ok" if row.ok else "NO", row.detail)
            missed += not row.ok
    Console().print(table)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
