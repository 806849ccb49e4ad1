"""The lines of the journal: each function writes its fields."""

import json
import os
import platform
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.events import boot_id
from fastbg.recorder import journal_events
from fastbg.recorder.journal_events import STAMP_NS, Line, encode, request_text, task_text
from fastbg.recorder.journal_lines import read_journal_line

R = request_text("r")
WORK = task_text("work", 0)
IN_WORKER: dict[str, Any] = {"worker": "worker-0@host", "server": "boot/1"}


@given(st.text(max_size=300), st.integers(min_value=20, max_value=400))
def test_any_text_is_encoded_within_its_limit(text: str, limit: int) -> None:
    encoded = encode(text, limit)
    assert len(encoded) <= limit
    assert encoded.isascii()
    assert text.startswith(json.loads(encoded).removesuffix("…"))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (journal_events.request_received(R, "GET", "/é", t_ns=5), ["request_received", "r", "GET", "/é"]),
        (journal_events.task_queued(R, WORK), ["task_queued", "r", "work", 0]),
        (
            journal_events.task_queued(R, task_text("work", 1), where="worker"),
            ["task_queued", "r", "work", 1, "worker"],
        ),
        (
            journal_events.response_sent(
                R,
                t_ns=5,
                status=200,
                size=4,
                sending_ns=3,
                files={"a": 1, "é": 2},
                files_after={},
                changed=["é"],
                buffered=7,
            ),
            ["response_sent", "r", 200, 4, 3, {"a": 1, "é": 2}, {}, ["é"], 7],
        ),
        (
            journal_events.response_sent(R, t_ns=5, status=None, size=0, sending_ns=3, buffered=None),
            ["response_sent", "r", None, 0, 3, None],
        ),
        (journal_events.response_lost(R, t_ns=5, status=404), ["response_lost", "r", 404]),
        (
            journal_events.task_started(R, WORK, 4711, t_ns=5, waited_ms=1.23456),
            ["task_started", "r", "work", 0, "thread", 4711, 1.235],
        ),
        (journal_events.task_started(R, WORK), ["task_started", "r", "work", 0, "loop"]),
        (journal_events.loop_blocked(R, ms=60.0, task=WORK), ["loop_blocked", "r", "work", 0, 60.0]),
        (
            journal_events.loop_blocked(None, ms=60.0, task=None, place="a.py:1 in f", path="/"),
            ["loop_blocked", None, "a.py:1 in f", "/", 60.0],
        ),
        (journal_events.task_finished(R, WORK), ["task_finished", "r", "work", 0]),
        (
            journal_events.task_failed(R, WORK, t_ns=5, error="E: \n", traceback="E\n  é"),
            ["task_failed", "r", "work", 0, "E: \n", "E\n  é"],
        ),
        (
            journal_events.task_dropped(R, WORK, status=500, reason="exception", detail="E 500"),
            ["task_dropped", "r", "work", 0, 500, "exception", "E 500"],
        ),
        (journal_events.request_finished(R, files=None, error=None, traceback=None), ["request_finished", "r"]),
        (
            journal_events.request_finished(R, files={"a": 1}, error="E", traceback="T"),
            ["request_finished", "r", {"a": 1}, "E", "T"],
        ),
        (
            journal_events.shutdown(unfinished=2, requests=1, tasks=["é", "b"], since_ns=3, waits=True),
            ["shutdown", None, 2, 1, ["é", "b"], 3, True],
        ),
        (
            journal_events.shutdown(unfinished=12, requests=0, tasks=["a"] * 12, since_ns=3, waits=False),
            ["shutdown", None, 12, 0, ["a"] * 10, 3, False],
        ),
        (journal_events.events_lost(count=3), ["events_lost", None, 3]),
        (
            journal_events.task_in_worker("task_started", None, "work", 0, **IN_WORKER),
            ["task_started", None, "work", 0, "worker", *IN_WORKER.values()],
        ),
        (
            journal_events.task_in_worker(
                "task_failed", "r", "work", 0, **IN_WORKER, error="E", traceback="T", files={"a": 1}
            ),
            ["task_failed", "r", "work", 0, "worker", *IN_WORKER.values(), "E", "T", {"a": 1}],
        ),
    ],
)
def test_line_has_the_given_fields_in_order(line: Line, fields: list[object]) -> None:
    found = json.loads(line)
    common = {key: found.pop(key) for key in ("t_ns", "wall_ns", "host", "boot", "pid")}
    assert (common["host"], common["boot"], common["pid"]) == (platform.node(), boot_id(), os.getpid())
    assert list(found.values()) == fields
    event = read_journal_line(line)
    assert event is not None
    assert event.t_ns == common["t_ns"]
    assert event.detail.items() >= {key: value for key, value in list(found.items())[2:] if value is not None}.items()


def test_line_has_the_given_time() -> None:
    assert json.loads(journal_events.response_lost(R, t_ns=5, status=None))["t_ns"] == 5


def test_long_texts_are_cut() -> None:
    long = "é" * 10_000
    line = journal_events.task_in_worker("task_failed", long, long, 0, worker=long, server=long, error=long)
    assert read_journal_line(line) is not None
    assert 1000 < len(line) < 4000


def test_wall_clock_is_read_when_the_stamp_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock may be set meanwhile, or the machine may sleep."""
    wall = iter((1000, 2000, 3000))
    now = [5 * STAMP_NS]
    monkeypatch.setattr(journal_events, "coarse_time_ns", lambda: next(wall))
    monkeypatch.setattr(journal_events, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(journal_events, "_stamp_end_ns", 0)
    makers: list[Callable[[], Line]] = [
        lambda: journal_events.task_finished(R, WORK),
        lambda: journal_events.task_queued(R, WORK),
        lambda: journal_events.task_started(R, WORK),
        lambda: journal_events.request_finished(R, files=None, error=None, traceback=None),
        lambda: journal_events.events_lost(count=1),
        lambda: journal_events.request_received(R, "GET", "/", t_ns=now[0]),
        lambda: journal_events.response_sent(R, now[0], 200, 0, 0, 0),
    ]
    assert {json.loads(make())["wall_ns"] for make in makers} == {1000}
    now[0] += STAMP_NS
    assert {json.loads(make())["wall_ns"] for make in makers} == {1000}
    for make in makers:
        monkeypatch.setattr(journal_events, "_stamp_end_ns", 0)
        wall = iter((4000,))
        assert json.loads(make())["wall_ns"] == 4000
        assert journal_events._stamp_end_ns == now[0] + STAMP_NS
