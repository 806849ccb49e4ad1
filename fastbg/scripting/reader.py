"""Reads a script from TOML. Reports all faults with their lines, before anything starts."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fastbg.errors import ScriptError
from fastbg.scripting.checks import check
from fastbg.scripting.common_values import with_common_values
from fastbg.scripting.faults import Fault, describe_faults
from fastbg.scripting.model import Script
from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of, lines_of
from fastbg.scripting.toml_mistakes import likely_cause, mistaken_line
from fastbg.scripting.validation import faults_from_errors
from fastbg.strict_json import is_deeper

MAX_BYTES = 1_000_000  # bytes of a script
MAX_SHOWN = 100  # characters of a line with a syntax error
MAX_DEPTH = 50  # levels of tables and arrays
_LONG_KEY = re.compile(  # tomllib keeps all beginnings of a dotted key: 20,000 names take 2.4 GB
    r"""(?:^|[\[{,])[ \t]*+(?:(?:"[^"\n]*+"|'[^'\n]*+'|[\w-]++)[ \t]*+\.[ \t]*+){200}""", re.MULTILINE
)

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class Source:
    """A script and its origin.

    ``name``: file name in messages. ``folder``: folder of the file. ``text``: the TOML document. ``lines``: line of
    each key. ``part``: the name of the only part to run, or None. ``remarks``: notes for the reader of the result.
    """

    script: Script
    name: str
    folder: Path
    text: str
    lines: Mapping[KeyPath, int]
    part: str | None = None
    remarks: tuple[str, ...] = ()

    def lines_below(self, path: KeyPath) -> Mapping[KeyPath, int]:
        """Return the lines of the keys of the request at ``path``, relative to it."""
        return self._lines_of_requests.get(path, {})

    @cached_property
    def _lines_of_requests(self) -> Mapping[KeyPath, Mapping[KeyPath, int]]:
        found: dict[KeyPath, dict[KeyPath, int]] = {}
        for path, line in self.lines.items():
            size = 2 if path[:1] == ("request",) else 4
            found.setdefault(path[:size], {})[path[size:]] = line
        return found

    @property
    def label(self) -> str:
        """The name in reports: ``blocking-async``, or ``blocking-async:trap`` for one part."""
        name = self.name.removesuffix(".toml")
        return name if self.part is None else f"{name}:{self.part}"

    def place(self, *path: str | int) -> str:
        """Return the ``FILE:LINE`` of a key."""
        return f"{self.name}:{line_of(path, self.lines)}"


def read_script(text: str, name: str, folder: Path, environment: Mapping[str, str]) -> Source:
    """Read the script in ``text``. Raises `ScriptError` with the line, the key, the found and the allowed values.

    ``name``: file name in messages. ``folder``: folder of the file. ``environment``: variables for ``${env.NAME}``.
    """
    data = _toml(text, name)
    lines = lines_of(text)
    faults: list[Fault] = []
    script: Script | None = None
    try:
        script = Script.model_validate(data)
    except ValidationError as error:
        from fastbg.scripting.schema import schema_of  # a valid script does not need it

        faults = faults_from_errors(error.errors(include_url=False), data, schema_of(Script))
    known = {fault.path for fault in faults}
    faults += [fault for fault in check(data, folder, environment) if fault.path not in known]
    if faults or script is None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ScriptError(
            f"the script has {count}",
            where=name,
            remedy="correct this line" if len(faults) == 1 else "correct these lines",
            details=describe_faults(faults, lines, name),
        )
    return Source(with_common_values(script), name, folder, text, lines)


def _toml(text: str, name: str) -> dict[str, Any]:
    if _LONG_KEY.search(text):
        raise _too_deep(name)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error), name) from None
    except ValueError:  # Python limits the digits of decimal numbers
        raise ScriptError(
            "the script is not valid TOML: a number has too many digits", where=name, remedy="put it in quotes"
        ) from None
    except RecursionError:
        raise _too_deep(name) from None
    if is_deeper(data, MAX_DEPTH):
        raise _too_deep(name)
    return data


def _syntax_error(text: str, error: str, name: str) -> ScriptError:
    """Return the error for ``error``, a message of `tomllib`, with the line and its likely cause."""
    lines = text.split("\n")
    message, place = _PLACE.sub("", error), _PLACE.search(error)
    if place and place[1]:
        number, column = int(place[1]), int(place[2])
    else:  # at the end of the document
        number = next((count for count in range(len(lines), 1, -1) if lines[count - 1].strip()), 1)
        column = len(lines[number - 1]) + 1
    mistaken = mistaken_line(lines, number, column, message)
    if mistaken != number:
        number, column = mistaken, len(lines[mistaken - 1]) + 1
    line = lines[number - 1]
    return ScriptError(
        f"the script is not valid TOML: {message}",
        where=f"{name}:{number}",
        remedy=likely_cause(line, message, column) or "correct this line",
        details=[line.strip()[:MAX_SHOWN]] if line.strip() else [],
    )


def _too_deep(name: str) -> ScriptError:
    return ScriptError(
        "the script is nested too deeply",
        where=name,
        remedy=f"use at most {MAX_DEPTH} levels of tables and arrays, or write the JSON as a string in `body`",
    )


def read_script_file(path: Path, environment: Mapping[str, str]) -> Source:
    """Read the script in the file ``path``. Raises `ScriptError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(error.strerror or str(error), str(path)) from None
    if len(data) > MAX_BYTES:
        raise _unreadable(f"it is larger than {MAX_BYTES:,} bytes", str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unreadable("it is not UTF-8", f"{path}:{line}") from None
    return read_script(text, str(path), path.absolute().parent, environment)


def _unreadable(why: str, where: str) -> ScriptError:
    return ScriptError(f"the script cannot be read: {why}", where=where, remedy="choose a .toml file in UTF-8")
