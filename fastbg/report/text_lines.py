"""Followed lines as text for people. One line is ``TIME NAME LINE``:

* ``TIME`` is the local time at which the line's first byte was seen. ``-`` for a line that was already in the file.
* ``NAME`` is shown only for several sources, each in its own colour.
* An incomplete line is shown immediately and continued in place. If another line was shown meanwhile, the rest starts
  a new output line with the mark ``↪``, unless the rest is only the end of the line.
* ``… N more bytes`` ends a line that is too long.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from fastbg.events import Notice
from fastbg.follow.lines import Piece
from fastbg.report.lines import Sighting
from fastbg.report.moments import exact_time, wall_ns_of
from fastbg.text import escape_control

CONTINUED = "↪ "
NAME_STYLES = ("cyan", "yellow", "green", "magenta", "blue")
MARKDOWN_STYLES = (
    (re.compile(r"#{1,6}(\s|$)"), "bold magenta"),
    (re.compile(r">"), "green"),
    (re.compile(r"```|~~~"), "dim"),
)
LOG_WORDS = re.compile(
    r"\b(?:(?P<error>CRITICAL|FATAL|ERROR)|(?P<warning>WARN(?:ING)?)|(?P<info>INFO)|(?P<debug>DEBUG|TRACE))\b"
    r"|^(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\S*)"
)
LOG_STYLES = {"error": "bold red", "warning": "yellow", "info": "green", "debug": "dim", "time": "dim"}
NOTICES: Mapping[str, str] = {"missing": "waiting for {path}", "polling": "{message}"}

Part = tuple[str, str]
"""A text and its style; an empty style for none."""


def labels(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a short name for each path: its file name, or the whole path if two files have the same name."""
    names = [path.name for path in paths]
    return {path: path.name if names.count(path.name) == 1 else str(path) for path in paths}


class Paint:
    """Adds styles to text, as far as Rich finds that the output supports them.

    Rich's `Console` takes ten times as long for a line that needs no layout. ``plain``: no styles are supported.
    """

    def __init__(self, output: TextIO) -> None:
        console = Console(file=output)
        self._colors = COLOR_SYSTEMS.get(console.color_system or "")
        self._no_color = console.no_color
        self._styles: dict[str, Style] = {}
        self.plain = self._colors is None

    def __call__(self, text: str, style: str) -> str:
        if self.plain or not style:
            return text
        if style not in self._styles:
            parsed = Style.parse(style)
            self._styles[style] = parsed.without_color if self._no_color else parsed
        return self._styles[style].render(text, color_system=self._colors)


class LineStyles:
    """Styles lines of Markdown files and of logs."""

    def __init__(self) -> None:
        self._markdown: dict[Path, str] = {}  # the style of the current line

    def __call__(self, path: Path, piece: Piece) -> list[Part]:
        text = escape_control(piece.text)
        if path.suffix.lower() in (".md", ".markdown"):
            if not piece.continued:
                matching = (style for start, style in MARKDOWN_STYLES if start.match(piece.text))
                self._markdown[path] = next(matching, "")
            return [(text, self._markdown.get(path, ""))]
        parts: list[Part] = []
        end = 0
        for match in LOG_WORDS.finditer(text):
            parts += [(text[end : match.start()], ""), (match[0], LOG_STYLES[match.lastgroup or ""])]
            end = match.end()
        return [*parts, (text[end:], "")]


class TextPrinter:
    """Lines for people, coloured on a terminal. Notices go to standard error."""

    def __init__(self, names: Mapping[Path, str], output: TextIO) -> None:
        self._names = {path: escape_control(name) for path, name in names.items()}
        self._width = max(map(len, self._names.values())) if len(names) > 1 else 0
        self._styles = {path: NAME_STYLES[n % len(NAME_STYLES)] for n, path in enumerate(names)}
        self._output = output
        self._paint = Paint(output)
        self._open: Path | None = None  # the file whose incomplete line ends the output
        self._styled = LineStyles()

    def piece(self, path: Path, piece: Piece, sighting: Sighting | None) -> None:
        more = f" … {piece.cut:,} more bytes" if piece.cut else ""
        line: list[Part] = []
        if not (piece.continued and self._open == path):
            if piece.continued and not piece.text and not more:
                return
            line = self._begin(path, None if sighting is None else wall_ns_of(sighting.t_ns))
            if piece.continued:
                line.append((CONTINUED, "dim"))
        line += [(escape_control(piece.text), "")] if self._paint.plain else self._styled(path, piece)
        line.append((more, "dim italic"))
        self._open = None if piece.complete else path
        self._write(line, end="\n" if piece.complete else "")

    def notice(self, notice: Notice) -> None:
        self.close()  # a terminal shows standard output and standard error together
        print_notice(notice)

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open = None
            self._write([], end="\n")
        self.flush()

    def _begin(self, path: Path, wall_ns: int | None) -> list[Part]:
        """Return the time and the name, on a new output line."""
        line = [("\n", "")] if self._open is not None else []
        self._open = None
        line.append((f"{exact_time(wall_ns) or '-':<12} ", "dim"))
        if self._width:
            line.append((f"{self._names[path]:<{self._width}} ", self._styles[path]))
        return line

    def _write(self, line: list[Part], end: str) -> None:
        self._output.write("".join(self._paint(text, style) for text, style in line) + end)


def print_notice(notice: Notice) -> None:
    words = NOTICES.get(notice.kind, "{path} {message}").format(path=notice.path, message=notice.message)
    sys.stderr.write(f"fastbg: {escape_control(words)}\n")
    sys.stderr.flush()
