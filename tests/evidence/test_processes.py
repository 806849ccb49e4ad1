"""The processes of a journal, and what each has left unfinished."""

import os
import subprocess
import sys
from typing import Any

import pytest

from fastbg.events import Event, boot_id
from fastbg.evidence import processes
from fastbg.evidence.history import JournalAggregator, JournalSummary
from fastbg.evidence.process_state import state_of
from fastbg.evidence.processes import ProcessState, RecordedProcess
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.processes import pid_namespace, start_ticks
from fastbg.report.processes import left_behind
from tests.support.recordings import TASK, line, received


def start(pid: int = 7, **more: Any) -> bytes:
    fields: dict[str, Any] = {"server_name": "uvicorn", "server_version": "0.54.0"}
    return line(900, "recording_started", None, pid=pid, **(fields | more))


def unfinished(request: str, pid: int = 7) -> bytes:
    return received(1000, request, pid=pid) + line(1001, "task_queued", request, **TASK, pid=pid)


def aggregate(state: ProcessState, *lines: bytes) -> JournalSummary:
    aggregator = JournalAggregator(10, state_of=lambda _: state)
    for each in b"".join(lines).splitlines():
        event = read_journal_line(each)
        assert event is not None
        aggregator.add(event, len(each))
    return aggregator.summary()


def test_each_process_counts_what_it_left() -> None:
    history = aggregate("gone", start(7), start(8), unfinished("a"), unfinished("b", 8), unfinished("c"))
    assert list(left_behind(history.left)) == [
        "Process 7 (uvicorn 0.54.0) is gone: 2 tasks of 2 requests unfinished.",
        "Process 8 (uvicorn 0.54.0) is gone: 1 task of 1 request unfinished.",
    ]
    assert {request.judgement.verdict for request in history.last} == {"lost"}
    assert (history.strays, history.requests) == (0, 3)


def test_a_new_process_with_the_same_id_ends_the_old_one() -> None:
    history = aggregate("running", start(), unfinished("a"), start(manager="gunicorn 27.0.1"), unfinished("b"))
    assert [(process.state, process.server) for process in history.left] == [
        ("gone", "uvicorn 0.54.0"),
        ("running", "uvicorn 0.54.0, started by gunicorn 27.0.1"),
    ]
    assert [request.judgement.verdict for request in history.last] == ["lost", "unproven"]


def test_nothing_is_said_of_a_process_that_cannot_be_looked_at() -> None:
    history = aggregate(None, start(), unfinished("a"))
    assert list(left_behind(history.left)) == []
    assert history.last[0].judgement.reason == "shop.mail queued, never finished (the journal ends before that)"


def test_name_of_a_server_is_not_trusted() -> None:
    history = aggregate("gone", start(server_name="\x1b[31m" + "x" * 10_000), unfinished("a"))
    (line,) = left_behind(history.left)
    assert line.startswith("Process 7 (\\x1b[31mxxx")
    assert len(line) < 300


def test_process_without_tasks_counts_its_requests() -> None:
    history = aggregate("gone", start(), received(1000, "a"))
    assert list(left_behind(history.left)) == ["Process 7 (uvicorn 0.54.0) is gone: 1 request unfinished."]


def test_request_without_a_task_names_the_state_of_its_process() -> None:
    reasons = [aggregate(state, start(), received(1000, "a")).last[0].judgement.reason for state in ("gone", "running")]
    assert reasons == [
        "the process of the server is gone, and the journal ends before the request finished",
        "the request has not finished, and the process of the server still runs: report again later",
    ]


def test_few_processes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [RecordedProcess(None, "b1", pid, state="gone", requests=1) for pid in range(12)]
    assert list(left_behind(many))[-1] == "2 more processes have unfinished requests."
    assert list(left_behind(many[:11]))[-1] == "1 more process has unfinished requests."
    monkeypatch.setattr(processes, "MAX_PROCESSES", 1)
    history = aggregate("gone", start(7), start(8), unfinished("a"), unfinished("b", 8))
    assert [process.server for process in history.left] == ["uvicorn 0.54.0", None]


def recorded(**more: Any) -> RecordedProcess:
    fields = {"host": "h", "boot": boot_id(), "pid": os.getpid()}
    identity = {"pid_namespace": pid_namespace(), "start_ticks": start_ticks()}
    return RecordedProcess.of(Event(1, "server", "recording_started", None, fields | identity | more))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not identify a process")
def test_state_is_that_of_the_very_process() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert state_of(recorded()) == "running"
    assert state_of(recorded(pid=ended.pid)) == "gone"
    assert state_of(recorded(start_ticks=1)) == "gone"  # another process has its id now


@pytest.mark.parametrize("field", [{"boot": "other"}, {"pid_namespace": 1}, {"start_ticks": None}])
def test_state_of_a_process_elsewhere_is_unknown(field: dict[str, Any]) -> None:
    assert state_of(recorded(**field)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not identify a process")
def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # until it ends
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None
    child.communicate()
