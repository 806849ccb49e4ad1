"""The journals that the arguments of ``fastbg report`` name."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from fastbg.data_folder import journal_of
from fastbg.errors import FastbgError
from fastbg.recorder.rotation import numbers, part

STDIN = Path("-")
MAX_LISTED = 20  # folders that an error names


def find_journals(arguments: Sequence[Path], data_folder: Path) -> list[Path]:
    """Return the journals of ``arguments`` (files, folders, `STDIN`); without any, the one of ``data_folder``.

    Raises `FastbgError` if a folder has no journal, or if two arguments are the same journal.
    """
    if not arguments:
        return [_journal_in(data_folder)]
    found = [_journal_in(path) if path != STDIN and path.is_dir() else path for path in arguments]
    _refuse_repeated(found)
    return found


def _journal_in(folder: Path) -> Path:
    journal = journal_of(folder)
    if _exists(journal):
        return journal
    below = [str(path.parent) for path in islice(_journals_below(folder), MAX_LISTED)]
    if below:
        raise FastbgError(
            "the folder has no journal, but these folders in it have one",
            where=str(journal),
            details=below,
            remedy="name one or more of these folders",
        )
    raise FastbgError(
        "there is no journal",
        where=str(journal),
        remedy="start your server with `fastbg run`, or run `fastbg demo`; or name a journal or its folder",
    )


def _journals_below(folder: Path) -> Iterator[Path]:
    """Yield the journals in the folders of ``folder``, and in their data folders."""
    try:
        children = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return
    for child in children:
        with suppress(PermissionError):
            yield from filter(_exists, (journal_of(child), journal_of(child / ".fastbg")))


def _exists(journal: Path) -> bool:
    return journal.exists() or bool(numbers(journal))


def _refuse_repeated(journals: Sequence[Path]) -> None:
    """Raise `FastbgError` if a file, or an older part of a journal, would be read twice."""
    seen: dict[tuple[int, int] | Path, Path] = {}
    for journal in journals:
        for key in set(_files(journal)):
            if key in seen:
                raise FastbgError(
                    "the same journal is named twice",
                    where=f"{seen[key]} and {journal}",
                    remedy="name it once; journal.jsonl includes journal.jsonl.1 and its other older parts",
                )
            seen[key] = journal


def is_read(path: Path, journals: Sequence[Path]) -> bool:
    """Return whether ``path`` is a file of one of ``journals``."""
    try:
        status = path.stat()
    except OSError:
        return False
    return any((status.st_dev, status.st_ino) in _files(journal) for journal in journals)


def _files(journal: Path) -> Iterator[tuple[int, int] | Path]:
    """Yield what identifies the files of ``journal``: device and inode, or `STDIN`."""
    if journal == STDIN:
        yield STDIN
        return
    for path in (journal, *(part(journal, number) for number in numbers(journal))):
        try:
            status = path.stat()
        except OSError:  # the reader reports it
            continue
        yield status.st_dev, status.st_ino
