"""Reads a journal: `JournalLines` turns bytes into lines, `read_journal_line` turns a line into an event."""

from fastbg.events import Event
from fastbg.strict_json import MAX_DEPTH, decode, is_deeper

MAX_LINE_BYTES = 256 * 1024  # bytes; a longer line is no event

_REQUIRED = {"t_ns": int, "wall_ns": int, "boot": str, "pid": int, "event": str}
_KINDS = _REQUIRED | {
    "request": str, "method": str, "path": str, "status": int, "bytes": int, "buffered": int, "files": dict,
    "files_after": dict, "sending_ns": int,
    "task": str, "n": int, "where": str, "error": str, "reason": str, "detail": str,
    "waited_ms": float, "ms": float, "unfinished": int, "count": int, "worker": str, "server": str,
}  # fmt: skip


def read_journal_line(line: bytes) -> Event | None:
    """The event in one line of a journal, or None where the line is no event (torn, or another program's).

    ``detail`` holds every field of the line but ``t_ns``, ``event`` and ``request``, and none that is null.
    """
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        text = line.decode().strip()
        fields, end = decode(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text) or not isinstance(fields, dict):
        return None
    if None in fields.values():
        fields = {key: value for key, value in fields.items() if value is not None}
    if not _REQUIRED.keys() <= fields.keys():
        return None
    for key, value in fields.items():  # journals may have millions of lines: one pass, no generator
        if type(value) is not _KINDS.get(key, type(value)):
            return None
    if not fields.keys() <= _KINDS.keys() and is_deeper(fields, MAX_DEPTH):
        return None
    for key in ("files", "files_after"):
        if key in fields and not all(type(size) is int for size in fields[key].values()):
            return None
    name: str = fields.pop("event")
    if name.startswith(("task_", "loop_")) and not ("task" in fields and "n" in fields):
        return None
    return Event(fields.pop("t_ns"), "server", name, fields.pop("request", None), fields)


class JournalLines:
    """Assembles the lines of a journal from bytes, however they are split. Each line is whole within one part of it.

    A line comes without its LF. Blank lines are left out. Of a line that is too long for an event only the start is
    kept.
    """

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int] | None, bytes] = {}  # lines without an end, by their part

    def feed(self, data: bytes, part: tuple[int, int] | None = None) -> list[bytes]:
        """Return the lines that ``data`` completes. ``part``: the file it was read from, ``(st_dev, st_ino)``."""
        *lines, begun = (self._begun.pop(part, b"") + data).split(b"\n")
        if begun:
            self._begun[part] = begun[: MAX_LINE_BYTES + 1]  # enough to know that it is too long
        return [line for line in lines if line.strip()]

    def resume(self, part: tuple[int, int]) -> None:
        """Continue in ``part`` the line that began where no part was named."""
        if None in self._begun:
            self._begun[part] = self._begun.pop(None)

    def finish(self) -> list[bytes]:
        """Return the lines that have no end, since nothing more will be read of them."""
        lines = [line for line in self._begun.values() if line.strip()]
        self._begun.clear()
        return lines
