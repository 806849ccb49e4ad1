"""The places that blocked an event loop, from the events of a journal."""

import pytest

from fastbg.events import Event
from fastbg.evidence import blocked_places
from fastbg.evidence.blocked_places import BlockedPlace, BlockedPlaces
from tests.support.traces import event


def blocked(place: str, ms: float) -> Event:
    return event(1000, "server", "loop_blocked", place=place, path=f"/{ms:g}", ms=ms)


def test_longest_time_of_each_place_is_kept() -> None:
    places = BlockedPlaces()
    for each in (blocked("a.py:1 in f", 60), blocked("a.py:1 in f", 90), blocked("a.py:1 in f", 70)):
        place = BlockedPlace.of(each)
        assert place is not None
        places.add([place])
    assert places.all() == (BlockedPlace("a.py:1 in f", "/90", 90, 3),)


def test_other_events_have_no_place() -> None:
    assert BlockedPlace.of(event(1000, "server", "loop_blocked", task="app.work", n=0, ms=60.0)) is None
    assert BlockedPlace.of(event(1000, "server", "task_failed", place="a.py:1 in f")) is None


def test_number_of_places_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_places, "MAX_PLACES", 2)
    places = BlockedPlaces()
    places.add([BlockedPlace(str(number), "", 60.0) for number in (1, 2, 3, 1)])
    assert [(each.place, each.count) for each in places.all()] == [("1", 2), ("2", 1)]
