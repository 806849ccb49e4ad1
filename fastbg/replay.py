"""``fastbg report``: renders a journal that a server recorded earlier. Nothing is started and nothing is fired.

The journal is read line by line up to the size that it has at the start, with a progress bar on a terminal.
"""

import gc
import os
import stat
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from fastbg.errors import FastbgError
from fastbg.events import read_journal_line
from fastbg.history import Historian, History

LINE_LIMIT = 256 * 1024  # bytes; a longer line is no event, and is not kept
TOLD_EVERY = 2**20  # bytes between two steps of the progress bar
BAR_FROM = 8 * TOLD_EVERY  # a smaller journal is read before anybody could look
STDIN = Path("-")


def report(journal: Path, *, last: int, as_json: bool) -> int:
    """Render ``journal`` (`STDIN` for standard input), its ``last`` requests one by one; 0. Raises `FastbgError`."""
    history = read_history(journal, last=last)
    name = "standard input" if journal == STDIN else str(journal)
    if as_json:
        import json

        from fastbg.report.document import history_document
        from fastbg.versions import versions

        json.dump(history_document(history, name, versions()), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        from fastbg.report.console import plain_console
        from fastbg.report.history import journal_report

        console = plain_console()
        console.print(journal_report(history, name, encoding=console.encoding))
    return 0


def read_history(journal: Path, *, last: int) -> History:
    """What ``journal`` (`STDIN` for standard input) tells; memory does not grow with it. Raises `FastbgError`."""
    historian = Historian(last)
    try:
        with nullcontext(sys.stdin.buffer) if journal == STDIN else journal.open("rb") as stream:
            status = os.fstat(stream.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            _read_with_bar(stream, size, historian)
    except OSError as error:
        raise FastbgError(
            f"the journal cannot be read: {error.strerror}",
            where=str(journal),
            remedy="name the journal.jsonl of a data folder, or - for standard input",
        ) from error
    history = historian.history()
    if history.foreign and not history.events:
        raise FastbgError(
            "this is no journal: none of its lines is an event",
            where=str(journal),
            remedy="name the journal.jsonl of a data folder",
        )
    return history


def _read_with_bar(stream: BinaryIO, size: int | None, historian: Historian) -> None:
    if size is None or size < BAR_FROM or not sys.stderr.isatty():
        read(stream, size, historian)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = ("reading", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size)
        read(stream, size, historian, lambda position: progress.update(task, completed=position))


def read(
    stream: BinaryIO, size: int | None, historian: Historian, tell: Callable[[int], None] = lambda position: None
) -> None:
    """Hand the events in the first ``size`` bytes of ``stream`` to ``historian``; ``tell`` gets the bytes so far.

    The line that lies across ``size`` is read to its end. What is no event is counted, empty lines are not.
    """
    position = told = 0
    collecting = gc.isenabled()
    gc.disable()  # what a line makes goes away with it, and no cycle is made
    try:
        while (size is None or position < size) and (line := stream.readline(LINE_LIMIT)):
            position += len(line)
            event = read_journal_line(line)
            if event is not None:
                historian.add(event, len(line))
            elif not line.isspace():
                historian.foreign += 1
                while not line.endswith(b"\n") and (line := stream.readline(LINE_LIMIT)):
                    position += len(line)
            if position - told >= TOLD_EVERY:
                told = position
                tell(position)
    finally:
        if collecting:
            gc.enable()
