"""What the processes of servers have not finished, as sentences."""

from collections.abc import Iterator, Sequence

from fastbg.evidence.processes import RecordedProcess
from fastbg.report.numbers import counted
from fastbg.text import escape_control

MAX_NAMED = 10  # processes
_STATES = {"gone": "is gone", "running": "still runs", None: ""}


def left_behind(processes: Sequence[RecordedProcess]) -> Iterator[str]:
    """Yield a sentence for each process with unfinished requests if it is known whether the process still runs."""
    known = [process for process in processes if process.state is not None]
    for process in known[:MAX_NAMED]:
        server = "" if process.server is None else f" ({escape_control(process.server)})"
        tasks = f"{counted(process.tasks, 'task')} of " if process.tasks else ""
        unfinished = f"{tasks}{counted(process.requests, 'request')} unfinished"
        yield f"Process {process.pid}{server} {_STATES[process.state]}: {unfinished}."
    if len(known) > MAX_NAMED:
        yield f"{counted(len(known) - MAX_NAMED, 'more process has', 'more processes have')} unfinished requests."
