"""Names on standard error what the shutdown of this process waits for, and what its immediate exit has lost."""

import _thread
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from fastbg.clock import monotonic_ns
from fastbg.errors import INTERRUPTED

if TYPE_CHECKING:
    from fastbg.recorder.middleware import Recorder
    from fastbg.recorder.unfinished import Unfinished

FIRST_S = 0.5  # most shutdowns are over by then
REPEAT_S, MAX_REPEAT_S = 5.0, 60.0  # the pause after a notice, at first and at most
MAX_NAMED = 5


def begin(recorder: "Recorder") -> None:
    """Start to write notices, until the process ends. May be called in a signal handler. Never raises."""
    # In a thread, because a task may block the loop. `threading` has locks, and the signal may have interrupted their
    # owner.
    with suppress(RuntimeError):  # too many threads: the shutdown goes on without notices
        _thread.start_new_thread(_write_notices, (recorder,))


def exit_at_once(recorder: "Recorder | None") -> NoReturn:
    """Exit without waiting for anything. May be called in a signal handler."""
    exited = f"fastbg: process {os.getpid()} exited immediately:"
    if recorder is None:
        _write([f"{exited} without a journal the number of lost background tasks is unknown"])
    else:
        lost = recorder.shut_down()
        _write([f"{exited} {_loss(lost)}", *_named(lost)])
    os._exit(INTERRUPTED)  # sys.exit would wait for the threads that run tasks


def _write_notices(recorder: "Recorder") -> None:
    pause_s = FIRST_S
    while True:
        time.sleep(pause_s)
        pause_s = min(max(2 * pause_s, REPEAT_S), MAX_REPEAT_S)
        if waits_for := recorder.shut_down(waits=True):
            pid = os.getpid()
            remedy = f"  press Ctrl-C again, or run kill -INT {pid}, to exit at once and lose these"
            _write([f"fastbg: process {pid} waits for {_counts(waits_for)}:", *_named(waits_for), remedy])


def _counts(unfinished: "Sequence[Unfinished]") -> str:
    tasks = sum(each.task is not None for each in unfinished)
    counts = [(tasks, "background task"), (len(unfinished) - tasks, "request")]
    return " and ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count)


def _loss(lost: "Sequence[Unfinished]") -> str:
    if not lost:
        return "no background task was lost"
    return f"{_counts(lost)} {'was' if len(lost) == 1 else 'were'} lost"


def _named(unfinished: "Sequence[Unfinished]") -> Iterator[str]:
    now_ns = monotonic_ns()
    yield from (f"  {each.describe(now_ns)}" for each in unfinished[:MAX_NAMED])
    if len(unfinished) > MAX_NAMED:
        yield f"  and {len(unfinished) - MAX_NAMED} more"


def _write(lines: Sequence[str]) -> None:
    with suppress(OSError):  # the same Ctrl-C may have ended the reader
        os.write(2, "".join(f"{line}\n" for line in lines).encode())
