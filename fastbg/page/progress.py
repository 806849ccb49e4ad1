"""How far a live page is behind the servers. Pure.

Three things make it late: the journal is read later than it is written, the page gets the changes in batches, and the
messages wait for a slow browser. The first two are here; `page.js` adds the third.
"""

from dataclasses import dataclass

BEHIND_MS = 1000  # less is no delay that a user must know
IDLE_NS = 500_000_000  # if no event was read for so long, then none waits to be read


class ReadingDelay:
    """How late the events were read. ``start_ns``: older events were in the journal before, and are not late."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._last_ns = 0
        self._read_ns = start_ns  # when the last one was read

    def add(self, recorded_ns: int, now_ns: int) -> None:
        """Add an event that was recorded at ``recorded_ns`` and read now."""
        if recorded_ns >= self._start_ns:
            self._last_ns, self._read_ns = max(now_ns - recorded_ns, 0), now_ns

    def at(self, now_ns: int) -> int:
        """Return how late events are read now, in nanoseconds."""
        return self._last_ns if now_ns - self._read_ns < IDLE_NS else 0


@dataclass(slots=True)
class PageProgress:
    """What one page shows.

    ``shown_ns``: it shows all that was recorded until then. ``version``, ``until_ns``: as soon as it has the changes up
    to this version, it shows all that was recorded until this time.
    """

    shown_ns: int
    version: int
    until_ns: int

    def sent(self, version: int, *, is_all: bool, latest: int, read_ns: int) -> None:
        """Record that the page was sent the changes up to ``version``, or all.

        ``latest``: the version of the last change. ``read_ns``: all that was recorded until then has been read.
        """
        if is_all:
            self.shown_ns = read_ns
        elif version >= self.version:
            self.shown_ns = self.until_ns
        else:
            return
        self.version, self.until_ns = latest, read_ns

    def behind_ms(self, now_ns: int) -> int:
        """Return by how many milliseconds the page is behind, 0 if no user would notice."""
        behind = (now_ns - self.shown_ns) // 1_000_000
        return behind if behind >= BEHIND_MS else 0
