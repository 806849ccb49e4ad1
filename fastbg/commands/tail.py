"""``fastbg tail``: the last lines of files and then what comes, with the time each was observed.

The last lines come file by file, in the order of the command line. SIGINT and SIGTERM end it between two lines (exit
code 130, 143). So does a pipe whose reader has gone, at once and not only at the next line (exit code 0).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fastbg.commands.stop_signals import NobodyReadsError, StopSignals
from fastbg.commands.tail_last_lines import Sources, show_last_lines
from fastbg.errors import FollowError
from fastbg.follow.files import file_at
from fastbg.output import drop_output, report_error
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.lines import Printer
from fastbg.report.stream import Stream
from fastbg.report.text_lines import TextPrinter, labels


def tail(
    paths: Sequence[Path],
    *,
    journals: Sequence[Path] = (),
    lines: int = 10,
    follow: bool = True,
    as_json: bool = False,
    data_folder: Path | None = None,
) -> int:
    """Show the last ``lines`` lines of ``paths`` and ``journals`` on standard output, then what comes.

    ``data_folder``: set where ``paths`` are its files and nobody named them, for the message when there are none.
    Returns the exit code: 0, or 1 where one of several files could not be shown, 2 where none could, 128 + the
    signal's number. Raises `FollowError` where the only file cannot be shown, `OSError` where nothing can be written.
    """
    sources = Sources(tuple(dict.fromkeys([*paths, *journals])), tuple(journals), lines)
    if data_folder is not None and not follow:
        _refuse_empty(data_folder, sources.paths)
    names = {**labels(paths), **dict.fromkeys(journals, "server")}
    printer: Printer = JsonPrinter(sys.stdout) if as_json else TextPrinter(names, sys.stdout)
    stream = Stream(printer, journals)
    with StopSignals() as signals:
        try:
            code = (_follow if follow else _show_last_lines)(sources, stream, signals)
            stream.close()
            if signals.code and sys.stdout.isatty():
                print()  # noqa: T201  (the terminal has shown ^C: the prompt wants a line of its own)
        except (BrokenPipeError, NobodyReadsError):
            drop_output()
            code = 0
        return signals.code or code


def _follow(sources: Sources, stream: Stream, signals: StopSignals) -> int:
    import asyncio

    from fastbg.commands.tail_following import follow, refusals

    refused = refusals(sources.paths)
    code = _report(list(refused.values()), of=len(sources.paths))
    if len(refused) < len(sources.paths):
        asyncio.run(follow(sources, refused, stream, signals))
    return code


def _show_last_lines(sources: Sources, stream: Stream, signals: StopSignals) -> int:
    errors = show_last_lines(sources, stream, signals)
    return 0 if signals.code else _report(errors, of=len(sources.paths))


def _refuse_empty(data_folder: Path, paths: Sequence[Path]) -> None:
    """Raise `FollowError` where none of ``paths`` is there yet."""
    if all(map(_is_missing, paths)):
        raise FollowError(
            "nothing was written yet",
            where=str(data_folder),
            remedy="run `fastbg demo`, or start `fastbg serve` and call it; or name another --dir",
        )


def _is_missing(path: Path) -> bool:
    try:
        file_at(path)
    except FileNotFoundError:
        return True
    except FollowError:
        pass
    return False


def _report(errors: Sequence[FollowError], *, of: int) -> int:
    """Return the exit code for ``errors`` about ``of`` files. The only one is raised, several are reported here."""
    if of == 1 and errors:
        raise errors[0]
    for error in errors:
        report_error(error)
    return 2 if len(errors) == of else min(len(errors), 1)
