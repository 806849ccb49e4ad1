"""Sorts what comes from several sources by its time."""

import heapq
import time
from typing import Generic, TypeVar

MAX_HELD = 256  # items; beyond that the oldest is due at once

Item = TypeVar("Item")


class TimeOrder(Generic[Item]):
    """Items in the order of their times. Each is held back until it is ``hold_ns`` old, since earlier ones may come."""

    def __init__(self, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        self._held: list[tuple[int, int, Item]] = []
        self._count = 0  # of items so far, so that those of one time keep their order

    def __len__(self) -> int:
        return len(self._held)

    def add(self, t_ns: int, item: Item) -> None:
        """Take ``item``, which belongs to the monotonic time ``t_ns``."""
        self._count += 1
        heapq.heappush(self._held, (t_ns, self._count, item))

    def pop(self) -> Item:
        """Return the oldest item, and forget it."""
        return heapq.heappop(self._held)[2]

    def wait_s(self) -> float | None:
        """Return the seconds until the oldest item is due, at most 0 when it is, None without items."""
        if not self._held:
            return None
        if len(self._held) > MAX_HELD:
            return 0.0
        return (self._held[0][0] + self._hold_ns - time.monotonic_ns()) / 1e9
