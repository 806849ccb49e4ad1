"""How followed lines look: as text for people (`TextPrinter`), or as JSON (`JsonPrinter`).

One line of text is ``TIME NAME LINE``:

* ``TIME`` is the local time at which the line's first byte was observed, or for the server's events the time
  that the server gives. ``-`` where nobody saw it: the line was there already.
* ``NAME`` is there only with several sources, each in its own colour.
* A line whose end is not written yet is shown at once and goes on in place when nothing came between. Otherwise
  the rest begins an output line of its own with the mark ``↪``. A rest that is only the line's end is not shown.
* ``… N bytes more`` ends a line that is too long to be shown.
"""

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from fastbg.events import Event, Notice, boot_id
from fastbg.follow.lines import Piece
from fastbg.text import safe

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


class Printer(Protocol):
    """Writes what a stream shows. ``seen_ns``: monotonic, None where nobody saw it come."""

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        """A line of a file, or a part of one."""

    def event(self, path: Path, event: Event) -> None:
        """An event of the server's journal."""

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        """A line of the journal that is no event."""

    def notice(self, notice: Notice) -> None:
        """What the follower has to say about a file."""

    def flush(self) -> None:
        """Let the reader have everything so far."""

    def close(self) -> None:
        """Complete what is open, and flush."""


def labels(paths: Sequence[Path]) -> dict[Path, str]:
    """A short name for each path: its last part, or all of it where two would be called the same."""
    names = [path.name for path in paths]
    return {path: path.name if names.count(path.name) == 1 else str(path) for path in paths}


def of_this_boot(event: Event) -> bool:
    """Whether the time of ``event`` can be compared with ours."""
    return bool(event.detail.get("boot", boot_id()) == boot_id())


def _wall_ns(t_ns: int) -> int:
    return t_ns + time.time_ns() - time.monotonic_ns()


def _event_wall_ns(event: Event) -> int | None:
    if of_this_boot(event):
        return _wall_ns(event.t_ns)
    wall_ns = event.detail.get("wall_ns")
    return wall_ns if isinstance(wall_ns, int) else None


def _moment(wall_ns: int | None) -> datetime | None:
    """UTC; None also for a number that is no time (journals come from outside)."""
    if wall_ns is None:
        return None
    try:
        return datetime.fromtimestamp(wall_ns // 10**9, UTC).replace(microsecond=wall_ns // 1000 % 10**6)
    except (OverflowError, ValueError, OSError):
        return None


@lru_cache(maxsize=16)
def _time_of_day(wall_s: int) -> str:
    moment = _moment(wall_s * 10**9)
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S")


class _Paint:
    """Brings styled text to a terminal, as far as Rich finds that it shows styles. Its `Console` would take ten times
    as long for a line that needs no layout. ``plain``: it shows none.
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


Part = tuple[str, str]
"""A text, and its style or an empty one."""


class TextPrinter:
    """Lines for people, coloured on a terminal. Notices go to standard error."""

    def __init__(self, names: Mapping[Path, str], output: TextIO) -> None:
        self._names = {path: safe(name) for path, name in names.items()}
        self._width = max(map(len, self._names.values())) if len(names) > 1 else 0
        self._styles = {path: NAME_STYLES[n % len(NAME_STYLES)] for n, path in enumerate(names)}
        self._output = output
        self._paint = _Paint(output)
        self._open: Path | None = None  # whose unfinished line is the last thing in the output
        self._line_styles: dict[Path, str] = {}

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        more = f" … {piece.cut:,} bytes more" if piece.cut else ""
        line: list[Part] = []
        if not (piece.continued and self._open == path):
            if piece.continued and not piece.text and not more:
                return
            line = self._begin(path, None if seen_ns is None else _wall_ns(seen_ns))
            if piece.continued:
                line.append((CONTINUED, "dim"))
        line += self._styled(path, piece)
        line.append((more, "dim italic"))
        self._open = None if piece.complete else path
        self._write(line, end="\n" if piece.complete else "")

    def event(self, path: Path, event: Event) -> None:
        detail = event.detail
        line = self._begin(path, _event_wall_ns(event))
        line.append((safe(event.name), "bold red" if event.name in ("task_failed", "task_dropped") else "bold"))
        where = " ".join(str(detail[key]) for key in ("method", "path") if detail.get(key) is not None)
        task = " ".join(
            (f"#{detail[key]}" if key == "n" else str(detail[key]))
            for key in ("task", "n", "where", "worker")
            if detail.get(key) is not None
        )
        words = [str(detail[key]) for key in ("error", "reason", "detail") if detail.get(key) is not None]
        status = [str(detail["status"])] if detail.get("status") is not None else []
        line += [(f"  {safe(word)}", "") for word in [*status, where, task, *words] if word]
        if event.request_id:
            line.append((f"  [{safe(event.request_id)}]", "dim"))
        if not of_this_boot(event):
            line.append(("  (another boot: its place in this order means nothing)", "yellow"))
        self._write(line, end="\n")

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        line = self._begin(path, None if seen_ns is None else _wall_ns(seen_ns))
        self._write([*line, ("no event: ", "yellow"), (safe(text), "dim")], end="\n")

    def notice(self, notice: Notice) -> None:
        self.close()  # on a terminal both streams are one
        words = NOTICES.get(notice.kind, "{path} {message}").format(path=notice.path, message=notice.message)
        sys.stderr.write(f"fastbg: {safe(words)}\n")
        sys.stderr.flush()

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open = None
            self._write([], end="\n")
        self.flush()

    def _begin(self, path: Path, wall_ns: int | None) -> list[Part]:
        """The time and the name, on an output line of their own."""
        line = [("\n", "")] if self._open is not None else []
        self._open = None
        time_of_day = "" if wall_ns is None else _time_of_day(wall_ns // 10**9)
        shown = f"{time_of_day}.{wall_ns // 10**6 % 1000:03}" if wall_ns is not None and time_of_day else "-"
        line.append((f"{shown:<12} ", "dim"))
        if self._width:
            line.append((f"{self._names[path]:<{self._width}} ", self._styles[path]))
        return line

    def _styled(self, path: Path, piece: Piece) -> list[Part]:
        text = safe(piece.text)
        if self._paint.plain:
            return [(text, "")]
        if path.suffix.lower() in (".md", ".markdown"):
            if not piece.continued:
                matching = (style for start, style in MARKDOWN_STYLES if start.match(piece.text))
                self._line_styles[path] = next(matching, "")
            return [(text, self._line_styles.get(path, ""))]
        parts: list[Part] = []
        end = 0
        for match in LOG_WORDS.finditer(text):
            parts += [(text[end : match.start()], ""), (match[0], LOG_STYLES[match.lastgroup or ""])]
            end = match.end()
        return [*parts, (text[end:], "")]

    def _write(self, line: list[Part], end: str) -> None:
        self._output.write("".join(self._paint(text, style) for text, style in line) + end)


class JsonPrinter:
    """One JSON object a line, all ASCII. Each has a ``source``: ``file``, ``server`` or ``notice``.

    ``file``: ``file``, ``text``, ``offset`` (of the first byte), ``continued``, ``complete``, ``cut`` (bytes not
    shown). ``server``: ``event``, ``request``, ``detail``, ``this_boot``; or ``event`` null and ``text``.
    ``notice``: ``file``, ``kind``, ``message``. All have ``t_ns`` (monotonic) and ``time`` (UTC, ISO 8601),
    null where nobody saw the line come.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        self._write(
            "file",
            seen_ns,
            file=str(path),
            text=piece.text,
            offset=piece.offset,
            continued=piece.continued,
            complete=piece.complete,
            cut=piece.cut,
        )

    def event(self, path: Path, event: Event) -> None:
        wall_ns = _event_wall_ns(event)
        self._write(
            "server",
            event.t_ns,
            wall_ns,
            event=event.name,
            request=event.request_id,
            detail=dict(event.detail),
            this_boot=of_this_boot(event),
        )

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        self._write("server", seen_ns, event=None, file=str(path), text=text)

    def notice(self, notice: Notice) -> None:
        self._write("notice", notice.t_ns, file=str(notice.path), kind=notice.kind, message=notice.message)

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        self.flush()

    def _write(self, source: str, t_ns: int | None, wall_ns: int | None = None, **fields: object) -> None:
        if wall_ns is None and t_ns is not None:
            wall_ns = _wall_ns(t_ns)
        moment = _moment(wall_ns)
        shown = None if moment is None else moment.isoformat(timespec="microseconds")
        entry = {"source": source, "t_ns": t_ns, "time": shown, **fields}
        self._output.write(json.dumps(entry, allow_nan=False) + "\n")
