"""``fastbg report``: renders the journals of servers. It starts no server and sends no request.

The parts of a journal (`fastbg.recorder.rotation`) are read from the oldest to the newest, each up to the size that
it has when it is opened. A terminal shows a progress bar.
"""

import gc
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from fastbg.commands.report_journals import STDIN, find_journals, is_read
from fastbg.data_folder import check_regular
from fastbg.errors import FastbgError
from fastbg.evidence.history import MAX_HELD, JournalAggregator, JournalListener, JournalSummary
from fastbg.evidence.journals import join_workers, merge
from fastbg.evidence.process_state import state_of
from fastbg.evidence.worker_events import WorkerEvents
from fastbg.output import notify
from fastbg.recorder.journal_lines import MAX_LINE_BYTES, JournalLines, read_journal_line
from fastbg.recorder.rotation import loss_signs, numbers, part
from fastbg.report.files import PAGE, check_picture

LAST = 20  # requests that are shown one by one
MAX_LAST = 10_000
BLOCK = 64 * 1024  # bytes per read, and per step of the progress bar
DESCRIPTORS = ("/dev/fd", "/dev/stdin")  # of pipes that are open: the shell makes one for <(zcat journal.jsonl.gz)
BAR_FROM = 8 * 2**20  # bytes; a smaller journal is read before a bar would be visible


def report(
    arguments: Sequence[Path], *, data_folder: Path, last: int | None, as_json: bool, save: Sequence[Path] = (),
    trace: Path | None = None,
) -> int:  # fmt: skip
    """Render the journals of ``arguments``, or of ``data_folder``, with the ``last`` requests one by one.

    ``last``: None for `LAST`, and for `MAX_LAST` in a page. ``save``: files for the picture or the page. ``trace``: a
    file that gets all requests in the Trace Event Format. Returns 0. Raises `FastbgError`.
    """
    for path in save:
        check_picture(path)
    kept = MAX_LAST if last is None and any(path.suffix == PAGE for path in save) else last
    journals = find_journals(arguments, data_folder)
    with nullcontext() if trace is None else _trace_file(trace, journals) as listener:
        whole = read_history(*journals, last=LAST if kept is None else kept, listener=listener)
    shown = LAST if last is None else last
    history = replace(whole, last=whole.last[max(len(whole.last) - shown, 0) :])
    _show(history, as_json=as_json)
    for path in save:
        _save(whole if path.suffix == PAGE else history, path)
        notify(f"Saved {path}")
    if trace is not None:
        notify(f"Saved {trace}")
    return 0


def _show(history: JournalSummary, *, as_json: bool) -> None:
    if as_json:
        import json

        from fastbg.report.document import history_document
        from fastbg.versions import versions

        json.dump(history_document(history, versions()), sys.stdout, allow_nan=False, indent=2)
        sys.stdout.write("\n")
    else:
        from fastbg.report.history import journal_report
        from fastbg.report.style import plain_console

        console = plain_console()
        console.print(journal_report(history, encoding=console.encoding))


def _save(history: JournalSummary, path: Path) -> None:
    if path.suffix == PAGE:
        from fastbg.page.journal_page import save_journal_page

        save_journal_page(history, path)
    else:
        from fastbg.report.history import journal_report
        from fastbg.report.picture import save_svg

        save_svg([journal_report(history, encoding="utf-8")], path, title="fastbg report")


@contextmanager
def _trace_file(path: Path, journals: Sequence[Path]) -> Iterator[JournalListener]:
    """Open the file of ``--trace``, and complete it at the end, also if a journal cannot be read."""
    from fastbg.report.files import check_place, writing
    from fastbg.report.trace_events import TraceEvents

    where = f"--trace {path}"
    check_place(path, "the trace", where)
    if is_read(path, journals):
        raise FastbgError("the trace would replace a journal", where=where, remedy="choose another file")
    with writing(path, "the trace") as write:
        events = TraceEvents(write)
        try:
            yield events
        finally:
            events.end()


def read_history(*journals: Path, last: int, listener: JournalListener | None = None) -> JournalSummary:
    """Summarize ``journals`` (`STDIN` may be one), each in constant memory. Raises `FastbgError`."""
    if len(journals) == 1:
        return _aggregate(journals[0], last, None, listener).summary()
    workers = WorkerEvents(MAX_HELD)
    aggregators = []
    for journal in journals:
        aggregators.append(_aggregate(journal, last, workers, listener))
        aggregators[-1].end()
    join_workers(aggregators, workers)
    return merge([each.summary() for each in aggregators], last=last, strays=workers.count)


def _aggregate(
    journal: Path, last: int, elsewhere: WorkerEvents | None, listener: JournalListener | None
) -> JournalAggregator:
    name = "standard input" if journal == STDIN else str(journal)
    aggregator = JournalAggregator(last, name, elsewhere, state_of, listener)
    try:
        with ExitStack() as stack:
            if journal == STDIN:
                _read_with_bar([Part(sys.stdin.buffer)], aggregator)
            else:
                _read_with_bar(open_parts(journal, stack), aggregator)
                aggregator.cut(len(loss_signs(journal)))
    except OSError as error:
        raise FastbgError(
            f"the journal cannot be read: {error.strerror}",
            where=str(error.filename or name),
            remedy="name the journal.jsonl of a data folder, the folder itself, or - for standard input",
        ) from error
    if aggregator.only_foreign:
        raise FastbgError(
            "not a journal: no line is an event",
            where=name,
            remedy="name the journal.jsonl of a data folder",
        )
    return aggregator


class Part:
    """A file of a journal. ``missing``: number of deleted parts before it. ``size``: in bytes, None for a stream."""

    def __init__(self, stream: BinaryIO, missing: int = 0) -> None:
        self.stream = stream
        self.missing = missing
        status = os.fstat(stream.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None


def open_parts(journal: Path, stack: ExitStack) -> list[Part]:
    """Open the parts of ``journal``, the oldest first; ``stack`` closes them.

    Raises `OSError`, `FileNotFoundError` if neither the journal nor any older part exists.
    """
    newest = None
    try:  # opened first: every older part has already been renamed to its number
        newest = _open_part(journal, stack)
    except FileNotFoundError:
        if not numbers(journal):
            raise
    parts: list[Part] = []
    before = 0
    for number in numbers(journal):
        try:
            opened = _open_part(part(journal, number), stack)
        except FileNotFoundError:  # rotation has just deleted it
            continue
        parts.append(Part(opened, number - before - 1))
        before = number
        if newest is not None and os.path.sameopenfile(opened.fileno(), newest.fileno()):
            return parts
    return [*parts, Part(newest)] if newest is not None else parts


def _open_part(path: Path, stack: ExitStack) -> BinaryIO:
    """Open a file of a journal. Raises `OSError` for one that has no end, or whose other end nobody has opened."""
    if not any(map(path.is_relative_to, DESCRIPTORS)):
        check_regular(path)
    return stack.enter_context(path.open("rb"))


def _read_with_bar(parts: Sequence[Part], aggregator: JournalAggregator) -> None:
    total = sum(part.size or 0 for part in parts)
    if total < BAR_FROM or not sys.stderr.isatty():
        _read_parts(parts, aggregator)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = ("reading", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        _read_parts(parts, aggregator, lambda position: progress.update(task, completed=position))


def _read_parts(
    parts: Sequence[Part], aggregator: JournalAggregator, on_position: Callable[[int], None] = lambda position: None
) -> None:
    before = 0
    for each in parts:
        aggregator.skip(each.missing)
        read(each.stream, each.size, aggregator, lambda position: on_position(before + position))  # noqa: B023  # not stored
        before += each.size or 0


def read(
    stream: BinaryIO,
    size: int | None,
    aggregator: JournalAggregator,
    on_position: Callable[[int], None] = lambda position: None,
) -> None:
    """Add the events in the first ``size`` bytes of ``stream`` to ``aggregator``.

    ``on_position`` is called with the number of bytes read so far. The line that crosses ``size`` is read to its
    end. Lines that are not events are counted, except blank ones.
    """
    lines, position = JournalLines(), 0
    enabled = gc.isenabled()
    gc.disable()  # reading creates no cycles, so a collection would free nothing
    try:
        for data in _blocks(stream, size):
            _add(lines.feed(data), aggregator)
            position += len(data)
            on_position(position)
        _add(lines.finish(), aggregator)
    finally:
        if enabled:
            gc.enable()


def _blocks(stream: BinaryIO, size: int | None) -> Iterator[bytes]:
    position, last = 0, b"\n"
    while data := stream.read(BLOCK if size is None else min(BLOCK, size - position)):
        yield data
        position += len(data)
        last = data[-1:]
    if position == size and last != b"\n":
        yield stream.readline(MAX_LINE_BYTES)


def _add(lines: Sequence[bytes], aggregator: JournalAggregator) -> None:
    events = [read_journal_line(line) for line in lines]  # parsing the whole block first takes 17 % less time
    for line, event in zip(lines, events, strict=True):
        if event is not None:
            aggregator.add(event, len(line))
        else:
            aggregator.foreign += 1
