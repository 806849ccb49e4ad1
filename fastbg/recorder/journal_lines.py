"""Reads a journal: `JournalLines` turns bytes into lines, `read_journal_line` turns a line into an event."""

from fastbg.events import Event
from fastbg.strict_json import MAX_DEPTH, decode, is_deeper

MAX_LINE_BYTES = 256 * 1024  # a longer line is not a valid event

_REQUIRED = {"t_ns": int, "wall_ns": int, "boot": str, "pid": int, "event": str}
_KINDS = _REQUIRED | {
    "host": str, "request": str, "method": str, "path": str, "status": int, "bytes": int, "buffered": int,
    "files": dict, "files_after": dict, "sending_ns": int, "x_request_id": str,
    "task": str, "n": int, "where": str, "error": str, "traceback": str, "reason": str, "detail": str,
    "place": str, "waited_ms": float, "ms": float, "unfinished": int, "requests": int, "tasks": list,
    "since_ns": int, "waits": bool, "count": int, "worker": str, "server": str,
    "python": str, "server_name": str, "server_version": str, "manager": str, "run": str,
    "pid_namespace": int, "start_ticks": int,
}  # fmt: skip


def read_journal_line(line: bytes) -> Event | None:
    """Return the event of a journal line, None if the line is not a valid event (torn, or of another program).

    ``detail`` contains all fields except ``t_ns``, ``event`` and ``request``, and except null values.
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
    for key, value in fields.items():  # a journal may have millions of lines: one loop, no generator
        if type(value) is not _KINDS.get(key, type(value)):
            return None
    if not fields.keys() <= _KINDS.keys() and is_deeper(fields, MAX_DEPTH):
        return None
    for key in ("files", "files_after"):
        if key in fields and not all(type(size) is int for size in fields[key].values()):
            return None
    if not all(type(task) is str for task in fields.get("tasks", ())):
        return None
    name: str = fields.pop("event")
    is_of_task = name.startswith("task_") or (name.startswith("loop_") and "place" not in fields)
    if is_of_task and not ("task" in fields and "n" in fields):
        return None
    return Event(fields.pop("t_ns"), "server", name, fields.pop("request", None), fields)


class JournalLines:
    """Joins bytes of a journal, split at any position, to lines. No line spans two parts of the journal.

    Lines have no LF at their end. Blank lines are omitted. Only the start of a line that is too long for an event is
    kept.
    """

    def __init__(self) -> None:
        self._incomplete: dict[tuple[int, int] | None, bytes] = {}  # lines without an end, by part

    def feed(self, data: bytes, part: tuple[int, int] | None = None) -> list[bytes]:
        """Return the lines that ``data`` completes. ``part``: the file it was read from, ``(st_dev, st_ino)``."""
        *lines, rest = (self._incomplete.pop(part, b"") + data).split(b"\n")
        if rest:
            self._incomplete[part] = rest[: MAX_LINE_BYTES + 1]  # enough to detect that it is too long
        return [line for line in lines if line.strip()]

    def resume(self, part: tuple[int, int]) -> None:
        """Continue in ``part`` the incomplete line that has no part."""
        if None in self._incomplete:
            self._incomplete[part] = self._incomplete.pop(None)

    def finish(self) -> list[bytes]:
        """Return the lines that are still incomplete at the end of the journal."""
        lines = [line for line in self._incomplete.values() if line.strip()]
        self._incomplete.clear()
        return lines
