"""The files of ``fastbg tail``, and their last lines for ``--no-follow``."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastbg.commands.stop_signals import StopSignals
from fastbg.errors import FollowError
from fastbg.follow.files import file_at, open_file
from fastbg.follow.journal import last_lines_of_journal
from fastbg.follow.lines import last_lines
from fastbg.report.stream import Stream


@dataclass(frozen=True, slots=True)
class Sources:
    """The files to show. ``journals``: the journals among ``paths``. ``optional``: those that may be missing.

    ``lines``: number of last lines per file. ``journal_lines``: of each journal.
    """

    paths: tuple[Path, ...]
    journals: tuple[Path, ...] = ()
    optional: tuple[Path, ...] = ()
    lines: int = 10
    journal_lines: int = 0

    def lines_of(self, path: Path) -> int:
        return self.journal_lines if path in self.journals else self.lines


def show_last_lines(sources: Sources, stream: Stream, signals: StopSignals) -> list[FollowError]:
    """Show the last lines file by file, until a signal is received. Returns the errors of files that failed."""
    errors = []
    for path in sources.paths:
        try:
            descriptor = _open(path)
        except FollowError as error:
            if path not in sources.optional or not is_missing(path):
                errors.append(error)
            continue
        try:
            for offset, data in _last_lines(path, descriptor, sources):
                stream.old(path, offset, data)
                if signals.code:
                    return errors
            stream.end(path)
        finally:
            os.close(descriptor)
    stream.flush()
    return errors


def is_missing(path: Path) -> bool:
    try:
        file_at(path)
    except FileNotFoundError:
        return True
    except FollowError:
        pass
    return False


def _open(path: Path) -> int:
    try:
        return open_file(path)
    except FileNotFoundError as error:
        raise FollowError(
            "the file does not exist",
            where=str(path),
            remedy="correct the name, or remove --no-follow to wait for the file",
        ) from error


def _last_lines(path: Path, descriptor: int, sources: Sources) -> Iterator[tuple[int, bytes]]:
    end = os.fstat(descriptor).st_size
    if path in sources.journals:
        return last_lines_of_journal(path, descriptor, end, sources.journal_lines)
    return last_lines(descriptor, sources.lines, end)
