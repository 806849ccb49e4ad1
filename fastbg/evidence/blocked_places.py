"""The places in the user's code, outside of background tasks, that blocked an event loop. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastbg.events import Event

MAX_PLACES = 100


@dataclass(frozen=True, slots=True)
class BlockedPlace:
    """``place``: ``file:line in function``. ``path``: of a request that it served. ``ms``: the longest time."""

    place: str
    path: str
    ms: float
    count: int = 1

    @classmethod
    def of(cls, event: Event) -> "BlockedPlace | None":
        """Return the place of an event, None for any event that has none."""
        detail = event.detail
        if event.name != "loop_blocked" or "place" not in detail:
            return None
        return cls(detail["place"], detail.get("path", ""), detail.get("ms", 0.0))


class BlockedPlaces:
    """Collects the places of a journal, at most `MAX_PLACES`."""

    def __init__(self) -> None:
        self._found: dict[str, BlockedPlace] = {}

    def add(self, places: Iterable[BlockedPlace]) -> None:
        for each in places:
            known = self._found.get(each.place)
            if known is not None:
                longest = max(known, each, key=lambda place: place.ms)
                self._found[each.place] = replace(longest, count=known.count + each.count)
            elif len(self._found) < MAX_PLACES:
                self._found[each.place] = each

    def all(self) -> tuple[BlockedPlace, ...]:
        return tuple(self._found.values())
