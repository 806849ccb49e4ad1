"""What tasks did to the server and to each other, as sentences."""

from pathlib import Path

from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.tasks import Task
from fastbg.report.delays import Told, blocked_places, delays, notes
from fastbg.report.lines import LONG_WAIT_MS


def test_longest_time_of_each_task_is_told() -> None:
    tasks = [Task("app.train", "finished", blocked_ms=ms) for ms in (100.0, 2504.2)]
    waiting = [Task("app.work", "finished", waited_ms=ms) for ms in (LONG_WAIT_MS - 1, LONG_WAIT_MS, 900.0)]
    assert list(delays([Told("POST /train", [*tasks, *waiting], None)])) == [
        "POST /train: app.train blocked the event loop for 2504 ms",
        "POST /train: app.work waited up to 900 ms for a thread",
    ]
    assert list(delays([Told("POST /train", waiting[:1], None)])) == []


def test_unusual_task_is_told_once_unless_the_verdict_says_it() -> None:
    again = Task("app.work", "finished", detail="called before")
    dropped = Task("app.work", "dropped", detail="never called")
    told = Told("GET /", [again, dropped], None)
    assert list(notes([told, told])) == ["GET /: app.work: called before"]
    assert list(notes([Told("GET /", [again], "overlapping: called before")])) == []


def test_exception_of_the_app_is_told_unless_the_verdict_says_it() -> None:
    assert list(notes([Told("GET /", [], None, "KeyError: 'x'")])) == ["GET /: the app raised KeyError: 'x'"]
    assert list(notes([Told("GET /", [], "no task; the app raised KeyError: 'x'", "KeyError: 'x'")])) == []


def test_blocked_places_are_told_with_their_path_and_number() -> None:
    here = f"{Path.cwd()}/shop.py:9 in order"
    places = [BlockedPlace(here, "/orders", 812.3, 3), BlockedPlace("/lib/a.py:1 in b", "", 60.0)]
    assert list(blocked_places(places)) == [
        "shop.py:9 in order blocked the event loop for 812 ms (/orders, the longest of 3 times)",
        "/lib/a.py:1 in b blocked the event loop for 60.0 ms",
    ]
