"""Finds and reads the source files of a script's apps. Imports no module, so that no code of the user runs."""

import os
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fastbg.scripting import placeholders
from fastbg.scripting.model import Part
from fastbg.scripting.reader import Source
from fastbg.scripting.source_code import SourceCode, imported_from, source_code

MAX_REEXPORTS = 5  # modules in a row that only import the app from another one

UNREADABLE = (OSError, SyntaxError, UnicodeDecodeError)  # a SyntaxError is of the encoding's declaration
_PACKAGE = "fastbg"
_PACKAGE_FOLDER = Path(str(resources.files(_PACKAGE))).parent


@dataclass(frozen=True, slots=True)
class AppCode:
    """The source files of a script's apps, with marked lines. ``notes``: what was not found or cannot be read."""

    files: tuple[SourceCode, ...]
    notes: tuple[str, ...]


def app_code(source: Source, parts: Sequence[Part], known: Mapping[str, str]) -> AppCode:
    """Read the files of the apps and workers of ``parts``. ``known``: values of placeholders in `folder`."""
    folder = Path(os.path.normpath(source.folder / placeholders.fill_text(source.script.folder, known)))
    folders = (folder, *map(Path, sys.path))
    places = [(part, app, find_source(app, folders)) for part in parts for app in _apps(source, part)]
    notes = [
        f"The source of {app} was not found, neither in {folder} nor on the module search path."
        for _, app, path in places
        if path is None
    ]
    files = []
    for path in dict.fromkeys(path for *_, path in places if path is not None):
        entries = [(part.name, entry) for part, _, place in places if place == path for entry in part.code]
        try:
            files.append(source_code(str(path), read_source(path), tuple(dict.fromkeys(entries))))
        except UNREADABLE as error:
            notes.append(f"{path} cannot be read: {_reason(error)}")
    return AppCode(tuple(files), tuple(dict.fromkeys([*notes, *_not_found(source, parts, files)])))


def find_source(app: str, folders: Sequence[Path]) -> Path | None:
    """Return the file with ``app`` ("module:attribute"), in the first of ``folders`` that has it, or None.

    If the module only imports the app from another module, return the file of that one.
    """
    module, _, attribute = app.partition(":")
    found = None
    for _ in range(MAX_REEXPORTS):
        path = _file_of(module, folders)
        found = path or found
        origin = None if path is None else _origin(path, module, attribute.partition(".")[0])
        if origin is None:
            break
        module = origin
    return found


def _origin(path: Path, module: str, attribute: str) -> str | None:
    """Return the module from which ``module`` imports ``attribute``, or None."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        return imported_from(read_source(path), attribute, package)
    except UNREADABLE:
        return None


def _apps(source: Source, part: Part) -> Iterator[str]:
    yield from filter(None, (part.app or source.script.app, part.worker))


def _file_of(module: str, folders: Sequence[Path]) -> Path | None:
    """Return the file of a module, by the names of Python's own search."""
    name = module.replace(".", "/")
    if module.partition(".")[0] == _PACKAGE:
        folders = (_PACKAGE_FOLDER,)
    for folder in folders:
        for path in (folder / name / "__init__.py", folder / f"{name}.py"):
            if path.is_file():
                return path
    return None


def read_source(path: str | Path) -> str:
    """Return the text in the encoding that the file declares. Raises `OSError`, `SyntaxError`, `UnicodeDecodeError`."""
    with tokenize.open(path) as file:
        return file.read()


def _reason(error: OSError | SyntaxError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not in the encoding that it declares (default: UTF-8)"


def _not_found(source: Source, parts: Sequence[Part], files: Sequence[SourceCode]) -> Iterator[str]:
    """Yield a note for each entry of the key `code` that is in none of the part's files."""
    marks = [mark for file in files for mark in file.marks]
    found = {(mark.part, mark.entry) for mark in marks if mark.lines}
    for mark in marks:
        if (mark.part, mark.entry) not in found:
            yield f"{_place(source, parts, mark.part, mark.entry)}: code: {mark.entry!r} was not found in the source"


def _place(source: Source, parts: Sequence[Part], name: str, entry: str) -> str:
    part = next(part for part in parts if part.name == name and entry in part.code)
    path = ("part", source.script.parts.index(part)) if source.script.parts else ()
    return source.place(*path, "code", part.code.index(entry))
