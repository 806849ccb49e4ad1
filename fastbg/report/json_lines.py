"""Followed lines as JSON, one object per line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fastbg.events import Notice
from fastbg.follow.lines import Piece
from fastbg.report.lines import Entry, Sighting
from fastbg.report.moments import of_this_boot, utc, wall_ns_of, wall_ns_of_event

if TYPE_CHECKING:
    from fastbg.evidence.activity import ActiveRequest, ActiveTask


class JsonPrinter:
    """Prints one JSON object per line, in ASCII. Each has a ``source``: ``file``, ``server`` or ``notice``.

    ``file``: ``file``, ``text``, ``offset`` (of the first byte), ``continued``, ``complete``, ``cut`` (bytes not
    shown), ``request`` (the id of the request that wrote it, null if the journal leaves another one). ``server``:
    ``event``, ``request``, ``detail``, ``this_boot``; or ``event`` null and ``text``. ``notice``: ``file``, ``kind``,
    ``message``. All have ``t_ns`` (monotonic) and ``time`` (UTC, ISO 8601), null if the line was already in the file.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def piece(self, path: Path, piece: Piece, sighting: Sighting | None) -> None:
        writer = None if sighting is None else sighting.writer
        self._write(
            "file",
            None if sighting is None else sighting.t_ns,
            request=None if writer is None else writer.request_id,
            file=str(path),
            text=piece.text,
            offset=piece.offset,
            continued=piece.continued,
            complete=piece.complete,
            cut=piece.cut,
        )

    def event(self, entry: Entry, *, last: bool) -> None:
        event = entry.event
        wall_ns = wall_ns_of_event(event)
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

    def overdue(self, request: "ActiveRequest", task: "ActiveTask | None", now_ns: int) -> None:
        """Print nothing: it is not an event."""

    def lost(self, request: "ActiveRequest", now_ns: int) -> None:
        """Print nothing: it is not an event."""

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        self.flush()

    def _write(self, source: str, t_ns: int | None, wall_ns: int | None = None, **fields: object) -> None:
        if wall_ns is None and t_ns is not None:
            wall_ns = wall_ns_of(t_ns)
        moment = None if wall_ns is None else utc(wall_ns)
        text = None if moment is None else moment.isoformat(timespec="microseconds")
        entry = {"source": source, "t_ns": t_ns, "time": text, **fields}
        self._output.write(json.dumps(entry, allow_nan=False) + "\n")
