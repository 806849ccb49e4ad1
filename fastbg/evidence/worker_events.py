"""Events of workers in another journal than the requests of their server. Pure."""

from collections.abc import Sequence

from fastbg.events import Event

Key = tuple[str, str | None]  # boot and process of the server, and the request


class WorkerEvents:
    """Holds events of workers until all journals have been read: the newest, at most ``limit`` bytes of journal lines.

    ``flaw``: why some may be missing, None if all are here. ``count``: number of events that it holds.
    """

    def __init__(self, limit: int) -> None:
        self.flaw: str | None = None
        self.count = 0
        self._limit = limit
        self._size = 0
        self._held: dict[Key, list[tuple[Event, int]]] = {}

    def add(self, key: Key, event: Event, size: int, *, too_many: str) -> None:
        """Hold an event from a line of ``size`` bytes. ``too_many``: the flaw if this exceeds the limit."""
        self._held.setdefault(key, []).append((event, size))
        self._size += size
        self.count += 1
        while self._size > self._limit:
            self.take(next(iter(self._held)))
            self.flaw = too_many

    def take(self, key: Key) -> Sequence[Event]:
        """Return the events of a request, and hold them no longer."""
        taken = self._held.pop(key, [])
        self._size -= sum(size for _, size in taken)
        self.count -= len(taken)
        return [event for event, _ in taken]
