"""The pieces of a line of `request_lines`: marks, short ids, and cutting to a width."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from fastbg.report.text_lines import Part
from fastbg.report.timelines import glyphs_for


@dataclass(frozen=True, slots=True)
class When:
    """When something happened, relative to the response, in a long and in a short form."""

    long: str
    short: str
    style: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The marks of lines. ``before``: a write before the response. ``more``, ``last``: after it."""

    arrow: str
    before: str
    more: str
    last: str
    unknown: str
    cut: str


UNICODE = Tree("→", "┌", "├", "└", "?", "…")
ASCII = Tree("->", ",", "|", "`", "?", "~")


def tree_for(encoding: str) -> Tree:
    return UNICODE if glyphs_for(encoding).response == "●" else ASCII


def label(number: int) -> str:
    """Return a short id: a1 to a9, b1, … z9, aa1, …"""
    letters, digit = divmod(number - 1, 9)
    text = ""
    while True:
        text = chr(ord("a") + letters % 26) + text
        letters = letters // 26 - 1
        if letters < 0:
            return f"{text}{digit + 1}"


def terminal_columns() -> int:
    return shutil.get_terminal_size().columns


def width_of(parts: Iterable[Part]) -> int:
    return sum(cell_len(text) for text, _ in parts)


def split(line: Sequence[Part], space: int, cut: str) -> tuple[list[Part], list[Part]]:
    """Split ``line`` at the width ``space``. If it is wider, ``cut`` ends the first part."""
    if width_of(line) <= space:
        return list(line), []
    parts: list[Part] = []
    space = max(space - cell_len(cut), 0)
    for number, (text, style) in enumerate(line):
        if cell_len(text) > space:
            kept = set_cell_size(text, space)  # half of a wide character becomes a space
            count = len(kept) if text.startswith(kept) else len(kept) - 1
            if not cut and " " in text[:count].strip():
                count = text.rindex(" ", 0, count) + 1
            return [*parts, (text[:count], style), (cut, "dim")], [(text[count:], style), *line[number + 1 :]]
        parts.append((text, style))
        space -= cell_len(text)
    return parts, []
