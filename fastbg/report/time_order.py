"""Sorts items from several sources by time."""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

from fastbg.clock import monotonic_ns

MAX_HELD = 256  # items; if more are held, the oldest is due immediately

Item = TypeVar("Item")


class TimeOrder(Generic[Item]):
    """Items in the order of their times. Each is held for ``hold_ns``, since earlier items may still arrive."""

    def __init__(self, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        self._held: list[tuple[int, int, Item]] = []
        self._count = 0  # keeps the order of items with the same time

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the items in any order."""
        return (item for _, _, item in self._held)

    @property
    def first(self) -> Item:
        """The oldest item."""
        return self._held[0][2]

    def add(self, t_ns: int, item: Item) -> None:
        self._count += 1
        heapq.heappush(self._held, (t_ns, self._count, item))

    def pop(self) -> Item:
        """Remove and return the oldest item."""
        return heapq.heappop(self._held)[2]

    def wait_s(self) -> float | None:
        """Return the seconds until the oldest item is due: 0 or less if it is due, None without items."""
        if not self._held:
            return None
        if len(self._held) > MAX_HELD:
            return 0.0
        return (self._held[0][0] + self._hold_ns - monotonic_ns()) / 1e9
