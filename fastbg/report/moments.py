"""Conversions from nanoseconds of a clock to UTC and to the time of day."""

from datetime import UTC, datetime
from functools import lru_cache

from fastbg.clock import monotonic_ns, time_ns
from fastbg.events import Event, boot_id


def utc(wall_ns: int) -> datetime | None:
    """Return ``wall_ns`` (since 1970) in UTC, None if out of range: a journal may hold any number."""
    try:
        return datetime.fromtimestamp(wall_ns // 10**9, UTC).replace(microsecond=wall_ns // 1000 % 10**6)
    except (OverflowError, ValueError, OSError):
        return None


@lru_cache(maxsize=16)
def time_of_day(wall_s: int) -> str:
    """Return ``wall_s`` (seconds since 1970) as HH:MM:SS in local time, empty if out of range."""
    moment = utc(wall_s * 10**9)
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def exact_time(wall_ns: int | None) -> str:
    """Return ``wall_ns`` as HH:MM:SS.mmm in local time, empty if unknown or out of range."""
    seconds = "" if wall_ns is None else time_of_day(wall_ns // 10**9)
    return f"{seconds}.{wall_ns // 10**6 % 1000:03}" if wall_ns is not None and seconds else ""


def wall_ns_of(t_ns: int) -> int:
    """Return the wall clock's time at the monotonic time ``t_ns`` of this boot, in nanoseconds."""
    return t_ns + time_ns() - monotonic_ns()


def t_ns_of(wall_ns: int) -> int:
    """Return this boot's monotonic time at the wall clock's time ``wall_ns``, in nanoseconds."""
    return wall_ns - wall_ns_of(0)


def of_this_boot(event: Event) -> bool:
    """Return whether the time of ``event`` is on this boot's monotonic clock."""
    return bool(event.detail.get("boot", boot_id()) == boot_id())


def wall_ns_of_event(event: Event) -> int | None:
    """Return the wall clock's time of ``event``; for another boot, the time that the server recorded."""
    if of_this_boot(event):
        return wall_ns_of(event.t_ns)
    wall_ns = event.detail.get("wall_ns")
    return wall_ns if isinstance(wall_ns, int) else None
