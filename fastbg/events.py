"""Events of the client and the server, and what a follower reports about files.

All times named ``t_ns`` are `fastbg.clock.monotonic_ns`. All processes of one host share this clock until next boot.
Times of events with different ``boot`` are never compared.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

HOST_CLOCK = "time:[4026531834]"  # the time namespace of the host: the kernel's PROC_TIME_INIT_INO
LOST = "events_lost"  # the journal event that reports a gap in the journal
FILE_SEEN = "file_seen"  # the event of a followed file that appeared, vanished, or was looked at again

Source = Literal["client", "file", "server"]
Verdict = Literal["response-first", "overlapping", "work-first", "no-work", "failed", "dropped", "lost", "unproven"]
ExpectedVerdict = Literal[Verdict, "any"]  # any: whether there is work or not, and in any order


class Event(NamedTuple):  # there may be millions: a frozen dataclass takes 0.7 µs to make, a named tuple 0.3 µs
    """An event that the client or the server recorded.

    ``t_ns``: monotonic nanoseconds. ``source``: who recorded it. ``name``: one of the names below.
    ``request_id``: the request it belongs to, or None. ``detail``: more fields by name.

    client: ``request_sent``, ``response_headers``, ``response_complete``, ``request_failed`` (`fastbg.run.client`)
    server: see `fastbg.recorder.journal_events`
    file: `FILE_SEEN` {file, exists, replaced} (`fastbg.evidence.observer`)
    A follower reports `Appended` and `Notice` instead.
    """

    t_ns: int
    source: Source
    name: str
    request_id: str | None = None
    detail: Mapping[str, Any] = MappingProxyType({})  # JSON from another process: any value


@dataclass(frozen=True, slots=True)
class Appended:
    """Bytes that were appended to a followed file.

    ``t_ns``: when the follower saw the new size, before it read the bytes; in a file that was rewritten before, when it
    had read them. ``path``: as the caller wrote it. ``file``: ``(st_dev, st_ino)``; a rotated file has another one.
    ``offset``: of the first byte in the file. ``data``: the bytes, never empty. ``written_ns``: the last of these bytes
    was written at this time or later, by the file's modification time; None if unknown. ``read_ns``: when they had been
    read, 0 if unknown; in a file that is rewritten they may be younger than ``t_ns``.
    """

    t_ns: int
    path: Path
    file: tuple[int, int]
    offset: int
    data: bytes
    written_ns: int | None = None
    read_ns: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of a followed file other than appended bytes.

    ``kind``: ``missing`` (does not exist, or was deleted), ``appeared``, ``truncated``, ``replaced``, ``skipped``
    (parts of a journal were deleted before they were read), ``refused`` (cannot be followed: a folder, a device, no
    permission), ``polling`` (the kernel's limit for notifications is reached, all files are polled). ``message``: a
    text for the user.
    """

    t_ns: int
    path: Path
    kind: Literal["missing", "appeared", "truncated", "replaced", "skipped", "refused", "polling"]
    message: str


@cache
def boot_id() -> str:
    """Return the id of the clock: the kernel's random id of this boot, else the host name.

    A time namespace may have another monotonic clock than its host, and is part of the id.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()
    try:
        clock = Path("/proc/self/ns/time").readlink().name
    except OSError:  # before Linux 5.6
        return boot
    return boot if clock == HOST_CLOCK else f"{boot}-{clock}"
