"""Reading a journal: joining its lines, and valid and invalid events."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.recorder.journal_lines import MAX_LINE_BYTES, JournalLines, read_journal_line
from fastbg.strict_json import MAX_DEPTH

LINE = {"t_ns": 5, "wall_ns": 6, "boot": "b", "pid": 7, "event": "task_started", "request": "r", "task": "m.f", "n": 0}


def test_line_becomes_an_event() -> None:
    event = read_journal_line(json.dumps(LINE | {"where": "thread"}).encode())
    assert event is not None
    assert (event.t_ns, event.source, event.name, event.request_id) == (5, "server", "task_started", "r")
    assert event.detail == {"wall_ns": 6, "boot": "b", "pid": 7, "task": "m.f", "n": 0, "where": "thread"}


def test_unknown_field_of_a_later_version_is_kept() -> None:
    event = read_journal_line(json.dumps(LINE | {"weather": [1]}).encode())
    assert event is not None
    assert event.detail["weather"] == [1]


@pytest.mark.parametrize(
    "change",
    [
        {"t_ns": "5"}, {"t_ns": True}, {"event": None}, {"request": 3}, {"n": "0"}, {"n": None}, {"task": None},
        {"ms": float("nan")}, {"weather": [float("inf")]}, {"files": []}, {"files": {"log.txt": "9"}},
        {"status": "200"}, {"files_after": {"log.txt": "9"}}, {"sending_ns": 5.0},
        {"tasks": "m.f"}, {"tasks": [1]}, {"waits": 1},
    ],
)  # fmt: skip
def test_line_with_a_wrong_field_is_not_an_event(change: dict[str, object]) -> None:
    assert read_journal_line(json.dumps(LINE | change).encode()) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b"\xff", b'"text"', b"[" * 100_000])
def test_line_without_an_object_is_not_an_event(line: bytes) -> None:
    assert read_journal_line(line) is None


def test_line_that_is_not_strict_json_is_not_an_event() -> None:
    start = json.dumps(LINE).encode()[:-1]
    assert read_journal_line(start + b', "weather": 1e308}') is not None
    assert read_journal_line(start + b', "weather": 1e309}') is None
    assert read_journal_line(start + b', "weather": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}") is not None
    for depth in (MAX_DEPTH + 2, 990, 100_000):  # Python reads 990 levels, but cannot write them
        assert read_journal_line(start + b', "weather": ' + b"[" * depth + b"1" + b"]" * depth + b"}") is None


def test_too_long_line_is_not_an_event_and_is_not_kept() -> None:
    assert read_journal_line(json.dumps(LINE | {"error": "x" * MAX_LINE_BYTES}).encode()) is None
    lines, block, whole = JournalLines(), b" " * 2**16, json.dumps(LINE).encode() + b"\n"
    tracemalloc.start()
    found = [line for _ in range(1000) for line in lines.feed(block)]
    found += lines.feed(whole) + lines.feed(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [read_journal_line(line) is None for line in found] == [True, False]
    assert peak < 2**21


@given(st.lists(st.integers(0, 400), max_size=6))
def test_lines_are_joined_from_any_pieces(cuts: list[int]) -> None:
    data = b"".join(json.dumps(LINE | {"n": n}).encode() + b"\n" for n in range(3))
    places = [0, *sorted(cuts), len(data)]
    lines = JournalLines()
    found = [line for begin, end in pairwise(places) for line in lines.feed(data[begin:end])]
    assert found == data.splitlines()
    assert lines.finish() == []


def test_blank_lines_are_omitted() -> None:
    lines = JournalLines()
    assert lines.feed(b"one\n\n\r\n  \ntwo\n\t") == [b"one", b"two"]
    assert lines.finish() == []


def test_each_part_has_its_own_lines() -> None:
    lines, late, newest = JournalLines(), (1, 1), (1, 2)
    lines.feed(b"la")
    assert lines.feed(b"one\nnew", newest) == [b"one"]
    lines.resume(late)
    assert lines.feed(b"te\nto", late) == [b"late"]
    assert lines.feed(b"est\n", newest) == [b"newest"]
    assert lines.finish() == [b"to"]


@given(st.binary())
def test_no_bytes_make_the_reader_fail(line: bytes) -> None:
    read_journal_line(line)
