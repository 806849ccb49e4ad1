"""Finds the lines of the keys in a TOML document. Pure."""

import re
import tomllib
from bisect import bisect
from collections.abc import Mapping, Sequence

from fastbg.scripting.placeholders import KeyPath

_BETWEEN = re.compile(r"(?:[\s,]|#[^\n]*)*+")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*+"|'[^']*+'|[\w-]++)[ \t]*(\.?)""")
_OPENS = re.compile(r"[ \t]*=[ \t]*")
_CLOSES = re.compile(r"[ \t]*\]\]?")
_SCALAR = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|"(?:[^"\\]|\\.)*+"'''
    r"""|'''(?:[^']|'{1,2}(?!'))*+'{3,5}|'[^']*+'|[^,\]}\n#]++""",
    re.DOTALL,
)


def lines_of(text: str) -> dict[KeyPath, int]:
    """Return the first line (from 1) of each key path in a valid TOML document."""
    lines: dict[KeyPath, int] = {}
    breaks = [found.start() for found in re.finditer("\n", text)]
    counts: dict[KeyPath, int] = {}  # number of tables in each [[array]] so far
    table: KeyPath = ()
    around: list[tuple[KeyPath, int | None]] = []  # open arrays (with the index of the next item) and tables
    at = 0
    while (at := _end(_BETWEEN, text, at)) < len(text):
        line = bisect(breaks, at) + 1
        if around and text[at] in "]}":
            around.pop()
            at += 1
            continue
        path, item = around[-1] if around else (table, None)
        if item is not None:
            around[-1] = (path, item + 1)
            path = (*path, item)
        elif not around and text[at] == "[":
            is_item = text.startswith("[[", at)
            names, at = _names(text, at + 1 + is_item)
            table = _table(names, counts, is_item=is_item)
            at = _end(_CLOSES, text, at)
            _set_line(lines, table, 0, line)
            continue
        else:
            names, at = _names(text, at)
            path = (*path, *names)
            _set_line(lines, path, len(path) - len(names), line)
            at = _end(_OPENS, text, at)
        lines.setdefault(path, line)
        if text.startswith(("[", "{"), at):
            around.append((path, 0 if text[at] == "[" else None))
            at += 1
        else:
            at = _end(_SCALAR, text, at)
    return lines


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """Return the line (from 1) of the key at ``path``, or of its closest parent; 1 without any."""
    for end in range(len(path), -1, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 1


def text_of(path: KeyPath, text: str, lines: Mapping[KeyPath, int]) -> str:
    """Return the table at ``path`` as it is written in ``text``, with the comments directly above it."""
    rows = text.split("\n")
    start = lines[path]
    later = (line for other, line in lines.items() if line > start and other[: len(path)] != path)
    end = min(later, default=len(rows) + 1) - 1
    while start > 1 and rows[start - 2].startswith("#"):
        start -= 1
    while end > start and (not rows[end - 1].strip() or rows[end - 1].startswith("#")):
        end -= 1
    return "\n".join(rows[start - 1 : end])


def keep_items(lines: Mapping[KeyPath, int], array: KeyPath, kept: Sequence[int]) -> dict[KeyPath, int]:
    """Return the lines after all items of ``array`` but those with the indexes ``kept`` were removed."""
    index = {old: new for new, old in enumerate(kept)}
    at = len(array)
    moved: dict[KeyPath, int] = {}
    for path, line in lines.items():
        if path[:at] != array or len(path) == at:
            moved[path] = line
        elif (item := path[at]) in index:
            moved[(*array, index[item], *path[at + 1 :])] = line
    return moved


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else len(text)


def _names(text: str, at: int) -> tuple[list[str], int]:
    """Return the parts of a dotted key, and its end."""
    names: list[str] = []
    while found := _KEY.match(text, at):
        name = found[1]
        names.append(next(iter(tomllib.loads(f"{name} = 0"))) if name[0] in "\"'" else name)
        if not found[2]:
            return names, found.end()
        at = found.end()
    return names, len(text)


def _table(names: Sequence[str], counts: dict[KeyPath, int], *, is_item: bool) -> KeyPath:
    """Return the path of the table that a header opens."""
    path: KeyPath = ()
    for number, name in enumerate(names):
        path = (*path, name)
        if is_item and number == len(names) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _set_line(lines: dict[KeyPath, int], path: KeyPath, start: int, line: int) -> None:
    """Set the line of ``path`` and of its parents from ``start``, unless they have one."""
    for end in range(start + 1, len(path) + 1):
        lines.setdefault(path[:end], line)
