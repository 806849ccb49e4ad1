"""Lines of the journal: what is an event, and what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.events import boot_id, read_journal_line

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
        {"files": []}, {"files": {"log.txt": "9"}}, {"status": "200"},
        {"files_after": {"log.txt": "9"}}, {"sending_ns": 5.0},
    ],
)  # fmt: skip
def test_line_with_a_wrong_field_is_no_event(change: dict[str, object]) -> None:
    assert read_journal_line(json.dumps(LINE | change).encode()) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b"\xff", b'"text"', b"[" * 100_000])
def test_line_that_is_no_object_is_no_event(line: bytes) -> None:
    assert read_journal_line(line) is None


@given(st.binary())
def test_no_bytes_make_the_reader_fail(line: bytes) -> None:
    read_journal_line(line)


def test_boot_id_is_the_same_in_one_boot() -> None:
    assert boot_id() == boot_id() != ""
