"""The time that one event of a request costs the recorder: making its line and giving it to the kernel."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastbg.recorder import journal_events
from fastbg.recorder.journal import Journal
from tests.benchmarks.rows import Row

ROUNDS = 21
NUMBER = 2_000  # events of one round
MUST = 4.0
REQUEST = journal_events.request_text("0123456789abcdef0123456789abcdef")
TASK = journal_events.task_text("shop.tasks.send_mail", 0)
TOGETHER = 16  # requests whose lines share a system call


def event_costs() -> list[Row]:
    """Compare each event of a request with one task with a bare ``os.write`` of the same bytes."""
    made: dict[str, Callable[[], bytes]] = {
        "request_received": lambda: journal_events.request_received(REQUEST, "POST", "/orders", time.monotonic_ns()),
        "task_queued": lambda: journal_events.task_queued(REQUEST, TASK),
        "response_sent": lambda: journal_events.response_sent(REQUEST, time.monotonic_ns(), 200, 11, 1, 0),
        "task_started": lambda: journal_events.task_started(REQUEST, TASK),
        "task_finished": lambda: journal_events.task_finished(REQUEST, TASK),
        "request_finished": lambda: journal_events.request_finished(REQUEST, files=None, error=None, traceback=None),
    }
    return [_row(name, make, shares="request" in name or "response" in name) for name, make in made.items()]


def _row(event: str, make: Callable[[], bytes], *, shares: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        journal.open()
        bare = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        line = make()

        def one_by_one() -> None:
            for _ in range(NUMBER):
                journal.write(make())

        def together() -> None:
            for _ in range(NUMBER // TOGETHER):
                for _ in range(TOGETHER):
                    journal.write_later(make())
                journal.flush()

        def floor() -> None:
            for _ in range(NUMBER):
                os.write(bare, line)

        journal._loop = None  # as in a turn of the event loop that has a `flush` at its end
        measured = together if shares else one_by_one
        ours_us, floor_us = (min(_us(each) for _ in range(ROUNDS)) for each in (measured, floor))
        os.close(bare)
    ratio = ours_us / floor_us
    how = f", {TOGETHER} lines share a write" if shares else ""
    detail = f"{ours_us:.1f} / {floor_us:.1f} µs, {len(line)} bytes{how}"
    return Row(event, "os.write of the line", ratio, f"<= {MUST:g}", ratio <= MUST, detail)


def _us(run: Callable[[], None]) -> float:
    begin = time.perf_counter()
    run()
    return (time.perf_counter() - begin) / NUMBER * 1e6
