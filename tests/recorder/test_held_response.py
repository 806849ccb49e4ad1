"""What the server still holds of a response: later looks at its buffers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastbg.evidence.tasks import Task
from fastbg.evidence.verdict import SentResponse, ServerRecord, judge_recorded
from fastbg.recorder.held_response import HeldResponse
from fastbg.recorder.journal import Journal
from tests.support.journals import read


class Connection:
    """uvicorn's state of a request, with the numbers of bytes that its transport holds at each look."""

    def __init__(self, held: list[int | None]) -> None:
        self.held = iter(held)
        self.disconnected = self.reset = False
        self.transport = SimpleNamespace(get_protocol=lambda: self.protocol)
        self.protocol: Any = SimpleNamespace(cycle=self)


def look(folder: Path, connection: Connection, times: int) -> list[int]:
    journal = Journal(folder / "journal.jsonl")
    journal.check()
    response = HeldResponse(
        '"r1"', journal, connection, lambda: next(connection.held), lambda: connection.reset, lambda: {"a": 1}
    )
    for _ in range(times):
        response.look()
    events = read(folder / "journal.jsonl")
    assert {(event["event"], event["request"]) for event in events} <= {("response_held", "r1")}
    assert [event["t_ns"] for event in events] == sorted(event["t_ns"] for event in events)
    assert [event.get("files") for event in events] == [None if event["buffered"] else {"a": 1} for event in events]
    return [event["buffered"] for event in events]


def test_looks_are_recorded_until_nothing_is_held(tmp_path: Path) -> None:
    assert look(tmp_path, Connection([127, 127, 0]), 5) == [127, 127, 0]


@pytest.mark.parametrize("change", ["unknown", "reset", "disconnected", "next request", "other protocol"])
def test_bytes_of_another_fate_are_not_recorded(change: str, tmp_path: Path) -> None:
    """A reset discards them, and the response to a later request of the connection is in the same buffers."""
    connection = Connection([None] if change == "unknown" else [127])
    connection.reset, connection.disconnected = change == "reset", change == "disconnected"
    if change == "next request":
        connection.protocol.cycle = Connection([])
    if change == "other protocol":
        connection.protocol = None
    assert look(tmp_path, connection, 3) == []


def task(started: int, ended: int, where: str = "loop") -> Task:
    return Task("shop.mail", "finished", started, ended, where=where)


@pytest.mark.parametrize(
    ("held", "drained", "tasks", "verdict", "reason"),
    [
        (None, 150, [task(150, 200, "thread")], "response-first", None),
        (120, 150, [task(120, 200)], "overlapping", "started while the server still held the response"),
        (220, None, [task(120, 220)], "work-first", "finished while the server still held the response"),
        (220, 300, [task(120, 220)], "work-first", "finished while the server still held the response"),
        (None, 150, [task(140, 200)], "unproven", "in the moment in which the response left the server"),
        (120, 150, [task(121, 149)], "unproven", "in the moment in which the response left the server"),
        (120, None, [task(120, 200)], "unproven", "which is all of it: uvloop before 0.23"),
        (None, None, [task(120, 200)], "unproven", "the server still held 127 bytes"),
        (None, 150, [task(150, 200, "thread"), task(140, 200)], "unproven", "in the moment"),
    ],
)
def test_later_looks_decide_the_order(
    held: int | None, drained: int | None, tasks: list[Task], verdict: str, reason: str | None
) -> None:
    sent = SentResponse(90, 100, 127, size=100, held_ns=held, drained_ns=drained)
    judgement = judge_recorded(ServerRecord(sent=sent, finished=True), tasks)
    assert judgement.verdict == verdict
    assert (judgement.reason is None) if reason is None else (reason in (judgement.reason or ""))
    assert sent.left_ns == (held or drained or 100)
