"""The last requests of a journal that is being written."""

import subprocess
from typing import Any

from fastbg.events import boot_id
from fastbg.evidence.live_requests import MAX_WRITES, LiveRequests
from fastbg.evidence.trace import Write
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.processes import pid_namespace, start_ticks
from tests.support.recordings import TASK, line, mail, received, sent

ALL = 1000


def add(requests: LiveRequests, *lines: bytes) -> None:
    for each in b"".join(lines).splitlines():
        event = read_journal_line(each)
        assert event is not None
        requests.add(event, len(each))


def states(requests: LiveRequests, since: int = 0) -> list[tuple[int, bool, str]]:
    return [
        (each.number, each.request.is_over, each.request.judgement.verdict) for each in requests.changes(since, ALL)
    ]


def test_request_is_open_until_its_end_and_then_judged() -> None:
    requests = LiveRequests(10)
    add(requests, received(), sent(), line(1003, "task_started", **TASK, where="thread"))
    assert states(requests) == [(1, False, "unproven")]
    (change,) = requests.changes(0, ALL)
    assert [task.state for task in change.request.tasks] == ["started"]
    add(requests, line(1500, "task_finished", **TASK), line(1501, "request_finished"))
    assert states(requests, change.version) == [(1, True, "response-first")]


def test_only_later_changes_are_returned_the_oldest_first() -> None:
    requests = LiveRequests(10)
    add(requests, received(request="r1"), received(request="r2"), received(request="r3"))
    add(requests, sent(request="r1"))
    assert [each.number for each in requests.changes(0, ALL)] == [2, 3, 1]
    first, second = requests.changes(0, 2)
    assert (first.number, second.number) == (2, 3)
    assert [each.number for each in requests.changes(second.version, ALL)] == [1]
    assert requests.changes(requests.changes(0, ALL)[-1].version, ALL) == []


def test_only_the_last_requests_are_kept() -> None:
    requests = LiveRequests(3)
    for number in range(10):
        add(requests, mail(request=f"r{number}"))
    assert [each.number for each in requests.changes(0, ALL)] == [8, 9, 10]
    assert requests.total == 10
    requests.add_write(7, "b1", "r0", Write("log.txt", "x", 0, 0, 1))  # of a forgotten one
    assert len(requests.changes(0, ALL)) == 3


def test_forgotten_request_may_still_end() -> None:
    requests = LiveRequests(1)
    add(requests, received(request="r1"), mail(request="r2"), sent(request="r1"), line(1, "request_finished", "r1"))
    assert states(requests) == [(2, True, "response-first")]


def test_writes_of_a_request_are_kept_up_to_a_limit() -> None:
    requests = LiveRequests(3)
    add(requests, received())
    for offset in range(MAX_WRITES + 5):
        requests.add_write(7, "b1", "r1", Write("log.txt", "x", 1_001_000_000, offset, 1))
    (change,) = requests.changes(0, ALL)
    assert change.request.writes_ms == [1.0] * MAX_WRITES


def test_requests_of_a_process_that_is_gone_are_lost() -> None:
    requests = LiveRequests(3)
    with subprocess.Popen(["sleep", "600"]) as server:
        about: dict[str, Any] = {"boot": boot_id(), "pid": server.pid}
        identity: dict[str, Any] = {"pid_namespace": pid_namespace(), "start_ticks": start_ticks(server.pid)}
        add(requests, line(999, "recording_started", None, **identity, **about), received(**about))
        add(requests, *(line(1001, event, **TASK, **about) for event in ("task_queued", "task_started")))
        requests.end_of_processes()
        assert states(requests) == [(1, False, "unproven")]
        server.kill()
    requests.end_of_processes()
    assert states(requests) == [(1, True, "lost")]


def test_process_of_another_boot_cannot_be_looked_at() -> None:
    requests = LiveRequests(3)
    add(requests, received(), line(1001, "task_queued", **TASK), line(1003, "task_started", **TASK))
    requests.end_of_processes()
    assert states(requests) == [(1, False, "unproven")]
