"""Files that the user asked for: refused early where they cannot be written, and a clear error where it turns out."""

import os
from pathlib import Path

from fastbg.errors import FastbgError


def check_place(path: Path, what: str, where: str) -> None:
    """Raise `FastbgError` if ``what`` ("the picture") cannot lie at ``path``; ``where`` ("--save x.svg") names it."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        raise FastbgError(f"{what} has no place to go", where=where, remedy="name a file in a folder that exists")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise FastbgError(f"{what} cannot be written: no permission", where=where, remedy="name another file")


def write(path: Path, content: str, what: str, *, append: bool = False) -> None:
    """Write ``content`` to ``path``, or at its end. Raises `FastbgError` that calls it ``what``."""
    try:
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise FastbgError(
            f"{what} cannot be written: {error.strerror}", where=str(path), remedy="name another file"
        ) from error
