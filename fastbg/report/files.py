"""Writing the files that the user requested. `check_place` finds faults before the run."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastbg.errors import FastbgError

PICTURE, PAGE = ".svg", ".html"


def check_picture(path: Path) -> None:
    """Raise `FastbgError` if ``path`` of ``--save`` is not a picture or a page, or cannot be written."""
    where = f"--save {path}"
    if path.suffix not in (PICTURE, PAGE):
        raise FastbgError(
            "a picture must be an .svg or .html file", where=where, remedy="use a name that ends in .svg or .html"
        )
    check_place(path, "the page" if path.suffix == PAGE else "the picture", where)


def check_place(path: Path, what: str, where: str) -> None:
    """Raise `FastbgError` if ``what`` ("the picture") cannot be written to ``path``; ``where``: "--save x.svg"."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FastbgError(
            f"{what} cannot be written: the folder {folder} does not exist",
            where=where,
            remedy="create the folder, or choose another file",
        )
    if path.is_dir():
        raise FastbgError(f"{what} cannot be written: {path} is a folder", where=where, remedy="add a file name")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise FastbgError(f"{what} cannot be written: no permission", where=where, remedy="choose another file")


def write(path: Path, content: str, what: str, *, append: bool = False) -> None:
    """Write or append ``content``, called ``what`` in an error, to ``path``. Raises `FastbgError`."""
    with writing(path, what, append=append) as write_text:
        write_text(content)


@contextmanager
def writing(path: Path, what: str, *, append: bool = False) -> Iterator[Callable[[str], None]]:
    """Open ``path`` and yield a function that writes a text to it. Opening, writing, closing raise `FastbgError`."""
    try:
        file = path.open("a" if append else "w", encoding="utf-8")
    except OSError as error:
        raise _cannot_be_written(path, what, error) from error

    def write_text(text: str) -> None:
        try:
            file.write(text)
        except OSError as error:
            raise _cannot_be_written(path, what, error) from error

    try:
        yield write_text
    finally:
        try:
            file.close()
        except OSError as error:
            raise _cannot_be_written(path, what, error) from error


def _cannot_be_written(path: Path, what: str, error: OSError) -> FastbgError:
    return FastbgError(f"{what} cannot be written: {error.strerror}", where=str(path), remedy="choose another file")
