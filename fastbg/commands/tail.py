"""``fastbg tail``: shows the last lines of files, then new lines with the time at which each was seen.

The last lines are shown file by file, in the order of the command line. SIGINT and SIGTERM end the command between two
lines (exit codes 130 and 143). If the reader of a pipe exits, the command ends immediately (exit code 0).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fastbg.commands.stop_signals import OutputBlockedError, StopSignals
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
    """Show the last ``lines`` lines of ``paths`` and ``journals`` on standard output, then new lines.

    ``data_folder``: set if ``paths`` are its files by default, for the error message if none exists.
    Returns the exit code: 0; 1 if some of several files could not be shown; 2 if none could; 128 + the number of a
    signal. Raises `FollowError` if the only file cannot be shown, `OSError` if standard output cannot be written.
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
                print()  # noqa: T201  (the terminal shows ^C: start a new line for the prompt)
        except (BrokenPipeError, OutputBlockedError):
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
    """Raise `FollowError` if none of ``paths`` exists."""
    if all(map(_is_missing, paths)):
        raise FollowError(
            "no file has been written yet",
            where=str(data_folder),
            remedy="run `fastbg demo`, send a request to `fastbg serve`, or choose another --dir",
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
    """Report ``errors`` about ``of`` files and return the exit code. Raises the error of a single file."""
    if of == 1 and errors:
        raise errors[0]
    for error in errors:
        report_error(error)
    return 2 if len(errors) == of else min(len(errors), 1)
