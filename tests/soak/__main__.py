"""``python -m tests.soak``: prints measurements each minute and a table at the end. Exit code 1: faults found."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.growth import MIN_SAMPLES
from tests.soak.run import SoakResult, soak

MAX_FAULTS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=40, help="requests per second")
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    parser.add_argument("--journal-size", type=float, default=0.25, metavar="MIB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = SoakResult(Path(folder) / "data")
        result.folder.mkdir()
        asyncio.run(_run(result, options))
        result.faults += [f"{row.process}: {row.what} grew" for row in result.growth.rows() if not row.ok]
        _show(result)
    return 1 if result.faults else 0


async def _run(result: SoakResult, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    end = time.monotonic() + options.minutes * 60
    showing = asyncio.create_task(_show_progress(result))
    await soak(
        result,
        rate=options.rate,
        workers=options.workers,
        journal_mib=options.journal_size,
        enough=lambda: time.monotonic() > end,
        stop=stop,
    )
    showing.cancel()


async def _show_progress(result: SoakResult) -> None:
    console, begin = Console(), time.monotonic()
    while True:
        await asyncio.sleep(60)
        last = {name: samples[-1] for name, samples in result.growth.samples.items()}
        processes = ", ".join(
            f"{n} {s.memory / 1024:.1f} MiB {s.descriptors} fds {s.threads} t" for n, s in last.items()
        )
        console.print(
            f"{(time.monotonic() - begin) / 60:.0f} min: {result.ledger.answered:,} responses, "
            f"{result.ledger.complete:,} complete, {len(result.demos)} demos, {result.rotations} rotations; "
            f"{processes}",
            highlight=False,
        )


def _show(result: SoakResult) -> None:
    console, ledger = Console(), result.ledger
    table = Table("process", "what", "second quarter", "last quarter", "at most", "")
    for row in result.growth.rows():
        unit = " KiB" if row.what == "memory" else ""
        numbers = (f"{value:,.0f}{unit}" for value in (row.early, row.late, row.most))
        table.add_row(row.process, row.what, *numbers, "ok" if row.ok else "NO")
    console.print(table if table.row_count else f"Less than {MIN_SAMPLES} samples: growth was not checked.")
    writes = {file: len(texts) for file, texts in ledger.expected.items()}
    console.print(
        f"{result.seconds:.0f} s: {ledger.sent:,} requests sent, {ledger.answered:,} responses, "
        f"{ledger.complete:,} with each event exactly once ({ledger.events:,} events); {writes} texts expected; "
        f"{len(result.demos)} demos, {result.demos.count(0)} of them with exit code 0; {result.rotations} rotations; "
        f"rest of the journal: {result.history}",
        highlight=False,
    )
    for fault in result.faults[:MAX_FAULTS]:
        console.print(f"fault: {fault}", highlight=False, markup=False)
    console.print(f"{len(result.faults)} faults" if result.faults else "No faults.")


if __name__ == "__main__":
    sys.exit(main())
