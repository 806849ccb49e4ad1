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
from pathlib import Path
from typing import NoReturn, Protocol, TextIO

from rich.console import Console
from rich.text import Text

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
LOG_STYLES = (
    (r"\b(CRITICAL|FATAL|ERROR)\b", "bold red"),
    (r"\bWARN(ING)?\b", "yellow"),
    (r"\bINFO\b", "green"),
    (r"\b(DEBUG|TRACE)\b", "dim"),
    (r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\S*", "dim"),
)
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


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError  # not Rich's exit code 1: a reader that has enough is no failure


class TextPrinter:
    """Lines for people, coloured on a terminal. Notices go to standard error."""

    def __init__(self, names: Mapping[Path, str], output: TextIO) -> None:
        self._names = {path: safe(name) for path, name in names.items()}
        self._width = max(map(len, self._names.values())) if len(names) > 1 else 0
        self._styles = {path: NAME_STYLES[n % len(NAME_STYLES)] for n, path in enumerate(names)}
        self._output = output
        self._console = _Console(file=output, soft_wrap=True)
        self._plain = self._console.color_system is None
        self._open: Path | None = None  # whose unfinished line is the last thing in the output
        self._line_styles: dict[Path, str] = {}

    def piece(self, path: Path, piece: Piece, seen_ns: int | None) -> None:
        more = f" … {piece.cut:,} bytes more" if piece.cut else ""
        text = Text()
        if not (piece.continued and self._open == path):
            if piece.continued and not piece.text and not more:
                return
            text = self._begin(path, None if seen_ns is None else _wall_ns(seen_ns))
            text.append(CONTINUED if piece.continued else "", "dim")
        text.append(self._style(path, piece))
        text.append(more, "dim italic")
        self._open = None if piece.complete else path
        self._write(text, end="\n" if piece.complete else "")

    def event(self, path: Path, event: Event) -> None:
        detail = event.detail
        text = self._begin(path, _event_wall_ns(event))
        text.append(safe(event.name), "bold red" if event.name in ("task_failed", "task_dropped") else "bold")
        where = " ".join(str(detail[key]) for key in ("method", "path") if detail.get(key) is not None)
        task = " ".join(
            (f"#{detail[key]}" if key == "n" else str(detail[key]))
            for key in ("task", "n", "where", "worker")
            if detail.get(key) is not None
        )
        words = [str(detail[key]) for key in ("error", "reason", "detail") if detail.get(key) is not None]
        status = [str(detail["status"])] if detail.get("status") is not None else []
        for word in [*status, where, task, *words]:
            text.append(f"  {safe(word)}" if word else "")
        if event.request_id:
            text.append(f"  [{safe(event.request_id)}]", "dim")
        if not of_this_boot(event):
            text.append("  (another boot: its place in this order means nothing)", "yellow")
        self._write(text, end="\n")

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        line = self._begin(path, None if seen_ns is None else _wall_ns(seen_ns))
        line.append("no event: ", "yellow").append(safe(text), "dim")
        self._write(line, end="\n")

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
            self._write(Text(), end="\n")
        self.flush()

    def _begin(self, path: Path, wall_ns: int | None) -> Text:
        text = Text("\n" if self._open is not None else "")
        self._open = None
        moment = _moment(wall_ns)
        shown = "-" if moment is None else moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
        text.append(f"{shown:<12} ", "dim")
        if self._width:
            text.append(f"{self._names[path]:<{self._width}} ", self._styles[path])
        return text

    def _style(self, path: Path, piece: Piece) -> Text:
        text = Text(safe(piece.text))
        if self._plain:
            return text
        if path.suffix.lower() in (".md", ".markdown"):
            if not piece.continued:
                matching = (style for start, style in MARKDOWN_STYLES if start.match(piece.text))
                self._line_styles[path] = next(matching, "")
            text.stylize(self._line_styles.get(path, ""))
        else:
            for words, style in LOG_STYLES:
                text.highlight_regex(words, style)
        return text

    def _write(self, text: Text, end: str) -> None:
        if self._plain:  # nothing for Rich to do, and a pipe may want a million lines
            self._output.write(text.plain + end)
        else:
            self._console.print(text, end=end)


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
