"""``python -m tests.soak``: prints what it measures once a minute, and in the end a table; 1 if anything is wrong."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.growth import ENOUGH
from tests.soak.run import Soak, soak

MAX_FAULTS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=40, help="requests a second")
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    parser.add_argument("--journal-size", type=float, default=0.25, metavar="MIB")
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = Soak(Path(folder) / "data")
        told.folder.mkdir()
        asyncio.run(_run(told, wish))
        told.faults += [f"{row.process}: {row.what} grew" for row in told.growth.rows() if not row.ok]
        _show(told)
    return 1 if told.faults else 0


async def _run(told: Soak, wish: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    end = time.monotonic() + wish.minutes * 60
    showing = asyncio.create_task(_show_now_and_then(told))
    await soak(
        told,
        rate=wish.rate,
        workers=wish.workers,
        journal_mib=wish.journal_size,
        enough=lambda: time.monotonic() > end,
        stop=stop,
    )
    showing.cancel()


async def _show_now_and_then(told: Soak) -> None:
    console, begin = Console(), time.monotonic()
    while True:
        await asyncio.sleep(60)
        last = {name: samples[-1] for name, samples in told.growth.samples.items()}
        processes = ", ".join(
            f"{n} {s.memory / 1024:.1f} MiB {s.descriptors} fds {s.threads} t" for n, s in last.items()
        )
        console.print(
            f"{(time.monotonic() - begin) / 60:.0f} min: {told.ledger.answered:,} answered, {told.ledger.complete:,} "
            f"complete, {len(told.demos)} demos, {told.rotations} rotations; {processes}",
            highlight=False,
        )


def _show(told: Soak) -> None:
    console, ledger = Console(), told.ledger
    table = Table("process", "what", "second quarter", "last quarter", "at most", "")
    for row in told.growth.rows():
        unit = " KiB" if row.what == "memory" else ""
        numbers = (f"{value:,.0f}{unit}" for value in (row.early, row.late, row.most))
        table.add_row(row.process, row.what, *numbers, "ok" if row.ok else "NO")
    console.print(table if table.row_count else f"Less than {ENOUGH} samples: nothing is said of growth.")
    writes = {file: len(texts) for file, texts in ledger.expected.items()}
    console.print(
        f"{told.seconds:.0f} s: {ledger.sent:,} requests sent, {ledger.answered:,} answered, {ledger.complete:,} with "
        f"each event in tail once ({ledger.events:,} events); {writes} texts expected; {len(told.demos)} demos, "
        f"{told.demos.count(0)} of them with exit code 0; {told.rotations} rotations; what is left of the journal: "
        f"{told.history}",
        highlight=False,
    )
    for fault in told.faults[:MAX_FAULTS]:
        console.print(f"wrong: {fault}", highlight=False, markup=False)
    console.print(f"{len(told.faults)} faults" if told.faults else "All accounted for.")


if __name__ == "__main__":
    sys.exit(main())
