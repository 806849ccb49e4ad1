"""Where a text without an id is in a followed file, found once for all requests that expect it. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping


class TextPlaces:
    """The places of a text in a file: of a text that does not overlap itself, or the given ones (offset to length).

    A request that waits for its writes asks for them among those of all requests that were open with it. So the free
    places and those that may still move are lists of their own, which only get shorter.
    """

    def __init__(self, places: bytes | Mapping[int, int]) -> None:
        self._text, self._lengths = (places, {}) if isinstance(places, bytes) else (b"", places)
        self._offsets = sorted(self._lengths)
        self._free = list(self._offsets)  # that no request has
        self._movable = list(self._offsets)  # that no request has, or one that may have another one
        self._begin: int | None = None  # what was searched
        self._end = 0

    def search(self, data: bytearray, start: int, lower: int) -> None:
        """Search the bytes from the offset ``lower`` that were not searched yet. ``start``: the offset of ``data``."""
        if self._begin is None:
            self._begin = self._end = lower
        if lower < self._begin:
            last = self._begin + len(self._text) - 1  # a text may begin before and end after it
            self._add(list(self._find(data, start, lower, min(last, self._end))), in_front=True)
            self._begin = lower
        end = start + len(data)
        if self._end < end:
            found = list(self._find(data, start, max(self._end - len(self._text) + 1, self._begin), end))
            known = self._offsets[-1] if self._offsets else -1
            self._add([offset for offset in found if offset > known], in_front=False)
            self._end = end

    def _find(self, data: bytearray, start: int, first: int, last: int) -> Iterator[int]:
        at = data.find(self._text, max(first - start, 0), max(last - start, 0))
        while at >= 0:
            yield start + at
            at = data.find(self._text, at + len(self._text), last - start)

    def _add(self, offsets: list[int], *, in_front: bool) -> None:
        for known in (self._offsets, self._free, self._movable):
            known[0 if in_front else len(known) : 0 if in_front else len(known)] = offsets

    def length(self, offset: int) -> int:
        return self._lengths.get(offset, len(self._text))

    def ends(self, lower: int, upper: int) -> tuple[int, int, int]:
        """Return the number of places that begin from ``lower`` to ``upper``, the first and the last of them."""
        first, last = bisect_left(self._offsets, lower), bisect_right(self._offsets, upper)
        return (last - first, self._offsets[first], self._offsets[last - 1]) if first < last else (0, 0, 0)

    def free(self, lower: int, upper: int) -> list[int]:
        return self._free[bisect_left(self._free, lower) : bisect_right(self._free, upper)]

    def movable(self, lower: int, upper: int) -> list[int]:
        return self._movable[bisect_left(self._movable, lower) : bisect_right(self._movable, upper)]

    def take(self, offset: int) -> None:
        """Mark that a request has the place at ``offset``."""
        _remove(self._free, offset)

    def fix(self, offset: int) -> None:
        """Mark that the place at ``offset`` stays with the request that has it."""
        _remove(self._free, offset)
        _remove(self._movable, offset)

    def discard(self, before: int) -> None:
        """Forget the places before an offset."""
        for known in (self._offsets, self._free, self._movable):
            del known[: bisect_left(known, before)]


def _remove(ascending: list[int], offset: int) -> None:
    at = bisect_left(ascending, offset)
    if at < len(ascending) and ascending[at] == offset:
        del ascending[at]


def overlaps_itself(text: bytes) -> bool:
    """Return whether a text can begin inside of itself, such as two line feeds."""
    return any(text.startswith(text[at:]) for at in range(1, len(text)))
