"""``fastbg tail``: shows requests, responses and writes, or the lines of files.

What is already there is shown first, file by file, in the order of the command line. SIGINT and SIGTERM end the command
between two lines (exit codes 130 and 143). If the reader of a pipe exits, the command ends immediately (exit code 0).
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.commands.stop_signals import OutputBlockedError, StopSignals
from fastbg.commands.tail_last_lines import Sources, is_missing, show_last_lines
from fastbg.data_folder import journal_of, written_files
from fastbg.errors import FollowError
from fastbg.output import drop_output, report_error
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.stream import Stream
from fastbg.report.text_lines import TextPrinter, labels

if TYPE_CHECKING:
    from fastbg.commands.tail_web import WebOptions

Server = AbstractAsyncContextManager[None]
LINES_PER_REQUEST = 20  # of a journal that are read to show one request; a request with one task has 6


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What to show. ``files``: named by the user; empty for those of the data folder. ``lines``: last lines per file.

    ``journal``: show the requests of the data folder's journal too. ``web``: show them on a page, None for lines.
    """

    directory: Path
    files: tuple[Path, ...] = ()
    journal: bool = True
    lines: int = 10
    follow: bool = True
    as_json: bool = False
    web: "WebOptions | None" = None

    @property
    def sources(self) -> Sources:
        journals = (journal_of(self.directory),) if self.journal else ()
        written = written_files(self.directory)
        paths = tuple(dict.fromkeys([*(self.files or written), *journals]))
        optional = paths if self.journal and not self.files else ()
        return Sources(
            paths, journals, optional, self.lines, self.lines if self.as_json else self.lines * LINES_PER_REQUEST
        )


def tail(options: TailOptions) -> int:
    """Show the last lines of files, or the last requests of a journal, then what is new, on standard output.

    Returns the exit code: 0; 1 if some of several files could not be shown; 2 if none could; 128 + the number of a
    signal. Raises `FollowError` if the only file cannot be shown, `OSError` if standard output cannot be written.
    """
    sources = options.sources
    if not options.files and not options.follow:
        _refuse_empty(options.directory, sources.paths)
    stream, server = _shown(options, sources)
    with StopSignals() as signals:
        try:
            if options.follow:
                code = _follow(sources, stream, signals, server)
            else:
                code = _show_last_lines(sources, stream, signals)
            stream.close()
            if signals.code and sys.stdout.isatty():
                print()  # noqa: T201  (the terminal shows ^C: start a new line for the prompt)
        except (BrokenPipeError, OutputBlockedError):
            drop_output()
            code = 0
        return signals.code or code


def _stream(options: TailOptions, sources: Sources) -> Stream:
    names = labels([path for path in sources.paths if path not in sources.journals])
    if not sources.journals:
        return Stream(JsonPrinter(sys.stdout) if options.as_json else TextPrinter(names, sys.stdout))
    from fastbg.report.journal_stream import JournalStream

    if options.as_json:
        return JournalStream(JsonPrinter(sys.stdout), sources.journals)
    from fastbg.report.request_lines import RequestPrinter

    names |= dict.fromkeys(sources.journals, "journal")
    optional = [path for path in sources.optional if path not in sources.journals]
    return JournalStream(RequestPrinter(names, sys.stdout, optional), sources.journals, options.lines)


def _shown(options: TailOptions, sources: Sources) -> tuple[Stream, Server]:
    """Return what shows the sources, and the server of the live page if there is one. Raises `ServerError`."""
    if options.web is None:
        return _stream(options, sources), nullcontext()
    from fastbg.commands.tail_web import start
    from fastbg.page.live import LiveFeed
    from fastbg.report.journal_stream import JournalStream

    feed = LiveFeed()
    return JournalStream(feed, sources.journals, options.lines), start(feed, options.web, options.directory)


def _follow(sources: Sources, stream: Stream, signals: StopSignals, server: Server) -> int:
    """Show what is new while ``server`` runs."""
    import asyncio

    from fastbg.commands.tail_following import follow, refusals

    refused = refusals(sources.paths)
    code = _report(list(refused.values()), of=len(sources.paths))
    if len(refused) < len(sources.paths):

        async def run() -> None:
            async with server:
                await follow(sources, refused, stream, signals)

        asyncio.run(run())
    return code


def _show_last_lines(sources: Sources, stream: Stream, signals: StopSignals) -> int:
    errors = show_last_lines(sources, stream, signals)
    return 0 if signals.code else _report(errors, of=len(sources.paths))


def _refuse_empty(data_folder: Path, paths: Sequence[Path]) -> None:
    """Raise `FollowError` if none of ``paths`` exists."""
    if all(map(is_missing, paths)):
        raise FollowError(
            "no file has been written yet",
            where=str(data_folder),
            remedy="run `fastbg demo`, send a request to `fastbg serve`, or choose another --dir",
        )


def _report(errors: Sequence[FollowError], *, of: int) -> int:
    """Report ``errors`` about ``of`` files and return the exit code. Raises the error of a single file."""
    if of == 1 and errors:
        raise errors[0]
    for error in errors:
        report_error(error)
    return 2 if len(errors) == of else min(len(errors), 1)
