"""Reads a journal: `JournalLines` turns bytes into lines, `read_journal_line` turns a line into an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import Any

from fastbg.events import Event
from fastbg.strict_json import MAX_DEPTH, decode, is_deeper

MAX_LINE_BYTES = 256 * 1024  # a longer line is not a valid event
MAX_MS = 1e13  # 300 years: a longer time is not a valid one, and its nanoseconds may not be finite

_REQUIRED = {"t_ns": int, "wall_ns": int, "boot": str, "pid": int, "event": str}
_KINDS = _REQUIRED | {
    "host": str, "request": str, "method": str, "path": str, "status": int, "bytes": int, "buffered": int,
    "files": dict, "files_after": dict, "sending_ns": int, "x_request_id": str,
    "task": str, "n": int, "where": str, "error": str, "traceback": str, "reason": str, "detail": str,
    "place": str, "waited_ms": float, "ms": float, "unfinished": int, "requests": int, "tasks": list,
    "thread_id": int, "since_ns": int, "waits": bool, "count": int, "worker": str, "server": str,
    "python": str, "server_name": str, "server_version": str, "manager": str, "run": str,
    "pid_namespace": int, "start_ticks": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the names of a line's fields and the types of their values show about it.

    ``valid``: whether the line may be an event. ``has_null``: some values are null. ``nested``: some values contain
    others. ``names_task``: it has the fields of a task. ``times``: the names of the values in milliseconds.
    """

    valid: bool
    has_null: bool
    nested: bool
    names_task: bool
    times: tuple[str, ...]


@lru_cache(maxsize=128)  # a journal has millions of lines of some ten shapes: this takes 1 µs less per line
def _shape_of(*names_and_types: Any) -> _Shape:
    count = len(names_and_types) // 2
    types = dict(zip(names_and_types[:count], names_and_types[count:], strict=True))
    return _Shape(
        valid=types.keys() >= _REQUIRED.keys() and all(kind is _KINDS.get(name, kind) for name, kind in types.items()),
        has_null=NoneType in types.values(),
        nested=not {dict, list}.isdisjoint(types.values()),
        names_task=types.keys() >= {"task", "n"},
        times=tuple(name for name in types if _KINDS.get(name) is float),
    )


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
    shape = _shape_of(*fields, *map(type, fields.values()))
    if shape.has_null:
        fields = {key: value for key, value in fields.items() if value is not None}
        shape = _shape_of(*fields, *map(type, fields.values()))
    if not shape.valid or (shape.nested and not _has_valid_items(fields)):
        return None
    if shape.times and not all(-MAX_MS < fields[name] < MAX_MS for name in shape.times):
        return None
    name: str = fields.pop("event")
    if not shape.names_task and (name.startswith("task_") or (name.startswith("loop_") and "place" not in fields)):
        return None
    return Event(fields.pop("t_ns"), "server", name, fields.pop("request", None), fields)


def _has_valid_items(fields: Mapping[str, Any]) -> bool:
    """Check what the values of a line contain."""
    if not fields.keys() <= _KINDS.keys() and is_deeper(fields, MAX_DEPTH):
        return False
    sizes = [size for key in ("files", "files_after") for size in fields.get(key, {}).values()]
    return all(type(size) is int for size in sizes) and all(type(task) is str for task in fields.get("tasks", ()))


class JournalLines:
    """Joins bytes of a journal, split at any position, to lines. No line spans two parts of the journal.

    Lines have no LF at their end. Blank lines are omitted. Only the start of a line that is too long for an event is
    kept.
    """

    def __init__(self) -> None:
        self._incomplete: dict[tuple[int, int] | None, bytes] = {}  # lines without an end, by part

    def feed(self, data: bytes, part: tuple[int, int] | None = None) -> list[bytes]:
        """Return the lines that ``data`` completes. ``part``: the file it was read from, ``(st_dev, st_ino)``."""
        lines = (self._incomplete.pop(part, b"") + data).split(b"\n")
        if rest := lines.pop():
            self._incomplete[part] = rest[: MAX_LINE_BYTES + 1]  # enough to detect that it is too long
        return [line for line in lines if line and not line.isspace()]

    def resume(self, part: tuple[int, int]) -> None:
        """Continue in ``part`` the incomplete line that has no part."""
        if None in self._incomplete:
            self._incomplete[part] = self._incomplete.pop(None)

    def finish(self) -> list[bytes]:
        """Return the lines that are still incomplete at the end of the journal."""
        lines = [line for line in self._incomplete.values() if line.strip()]
        self._incomplete.clear()
        return lines
