"""The speed of `fastbg report`, and its memory for a million events."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastbg.commands.report import read
from fastbg.evidence.history import JournalAggregator
from tests.benchmarks.rows import Row
from tests.benchmarks.runs import alternately
from tests.support.processes import peak_memory_mib
from tests.support.recordings import EVENTS_PER_REQUEST, write_long_journal

EVENTS = 300_000
MANY, FEW = 1_000_000, 10_000
ROUNDS = 5
MAX_RATIO = 2.5
MAX_MEMORY = 1.1


def journal_reading() -> list[Row]:
    """Compare reading and judging all events with `json.loads` alone on the same lines."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        write_long_journal(journal, EVENTS // EVENTS_PER_REQUEST)
        ours, floor = alternately([_timed(_report, journal), _timed(_parse, journal)], ROUNDS)
    rate = f"{EVENTS / ours:,.0f} / {EVENTS / floor:,.0f} events/s"
    return [
        Row(
            what="fastbg report, reading",
            floor="json.loads on each line",
            ratio=ours / floor,
            must=f"<= {MAX_RATIO}",
            ok=ours <= MAX_RATIO * floor,
            detail=f"{rate}, median of {ROUNDS} runs over {EVENTS:,} events",
        )
    ]


def journal_memory() -> list[Row]:
    """Compare the peak memory of the process for a long and a short journal."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        peaks = []
        for events in (MANY, FEW):
            write_long_journal(journal, events // EVENTS_PER_REQUEST)
            peaks.append(peak_memory_mib("report", "--json", journal)[0])
    ours, floor = peaks
    return [
        Row(
            what=f"fastbg report, peak memory with {MANY:,} events",
            floor=f"with {FEW:,}",
            ratio=ours / floor,
            must=f"<= {MAX_MEMORY}",
            ok=ours <= MAX_MEMORY * floor,
            detail=f"{ours:.1f} / {floor:.1f} MiB",
        )
    ]


def _timed(work: Callable[[Path], None], journal: Path) -> Callable[[], float]:
    """Return a function that measures ``work`` on ``journal`` in seconds of processor time."""

    def run() -> float:
        begin = time.process_time()
        work(journal)
        return time.process_time() - begin

    return run


def _report(journal: Path) -> None:
    aggregator = JournalAggregator(20)
    with journal.open("rb") as stream:
        read(stream, None, aggregator)
    aggregator.summary()


def _parse(journal: Path) -> None:
    with journal.open("rb") as stream:
        for line in stream:
            json.loads(line)
