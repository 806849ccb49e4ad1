"""What the witnesses say: events of client and server, and what a follower sees of files.

All times named ``t_ns`` are `time.monotonic_ns`, which the processes of one boot of one host share.
Two events with different ``boot`` are never compared by time.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

LOST = "events_lost"  # the event of the journal that tells of a gap in it

Source = Literal["client", "file", "server"]
Verdict = Literal["response-first", "work-first", "no-work", "failed", "dropped", "lost", "unproven"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one witness saw at one time.

    ``t_ns``: monotonic nanoseconds. ``source``: the witness. ``name``: one of the names below.
    ``request_id``: the request it belongs to, or None. ``detail``: what else is known, by name.

    client: ``request_sent``, ``response_headers``, ``response_complete``, ``request_failed`` (`fastbg.run.client`)
    server: see `fastbg.recorder.journal_events`
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
