"""What the witnesses say: events, and the lines of the journal that carry the server's events.

All times named ``t_ns`` are `time.monotonic_ns`, which the processes of one boot of one host share.
Two events with different ``boot`` are never compared by time.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fastbg.strict_json import DEEPEST, decode, is_deeper

LOST = "events_lost"  # the event of the journal that tells of a gap in it

Source = Literal["client", "file", "server"]
Verdict = Literal["response-first", "work-first", "no-work", "failed", "dropped", "lost", "unproven"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one witness saw at one time.

    ``t_ns``: monotonic nanoseconds. ``source``: the witness. ``name``: one of the names below.
    ``request_id``: the request it belongs to, or None. ``detail``: what else is known, by name.

    client: ``request_sent``, ``response_headers``, ``response_complete``, ``request_failed`` (`fastbg.client`)
    server: see `fastbg.recorder`
    What a follower sees comes as `Appended` and `Notice`.
    """

    t_ns: int
    source: Source
    name: str
    request_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)  # JSON from another process: any value


@dataclass(frozen=True, slots=True)
class Appended:
    """Bytes that a follower saw at the end of a file.

    ``t_ns``: when the follower saw how far the file reaches, before it read anything. ``path``: as the caller named it.
    ``file``: ``(st_dev, st_ino)``, so that a rotated file is another one. ``offset``: of the first byte
    in the file. ``data``: the bytes, never empty.
    """

    t_ns: int
    path: Path
    file: tuple[int, int]
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """Something else that a follower has to say about a file.

    ``kind``: ``missing`` (not there, or not any more), ``appeared``, ``truncated``, ``replaced``, ``skipped`` (parts
    of a journal were deleted before they could be read), ``refused`` (cannot be followed as it is: a folder, a
    device, no permission), ``polling`` (the kernel has no notifications left, all files are polled). ``message``: for
    people.
    """

    t_ns: int
    path: Path
    kind: Literal["missing", "appeared", "truncated", "replaced", "skipped", "refused", "polling"]
    message: str


@cache
def boot_id() -> str:
    """Names this boot of this host: the kernel's random boot id, or the host's name where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


LONGEST_LINE = 256 * 1024  # bytes; a longer line is no event

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
    if len(line) > LONGEST_LINE:
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
    if not fields.keys() <= _KINDS.keys() and is_deeper(fields, DEEPEST):
        return None
    for key in ("files", "files_after"):
        if key in fields and not all(type(size) is int for size in fields[key].values()):
            return None
    name: str = fields.pop("event")
    if name.startswith(("task_", "loop_")) and not ("task" in fields and "n" in fields):
        return None
    return Event(fields.pop("t_ns"), "server", name, fields.pop("request", None), fields)


class Lines:
    """Puts the lines of a journal together, however what is read of it is split. ``torn``: of the last one so far."""

    def __init__(self) -> None:
        self.torn = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events in the lines that ``data`` completes; what is no event is left out."""
        *lines, torn = (self.torn + data).split(b"\n")
        self.torn = torn[: LONGEST_LINE + 1]  # of a line that is too long, enough to know it
        return [event for line in lines if (event := read_journal_line(line)) is not None]
