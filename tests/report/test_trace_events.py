"""`fastbg report --trace`: the Trace Event Format."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastbg.evidence.history import JournalAggregator
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.report import trace_events
from tests.support.processes import fastbg
from tests.support.recordings import TASK, line, mail, received, sent, write_long_journal

WALL_US = 1_700_000_000 * 10**6
Fields = dict[str, Any]


def trace(folder: Path, *journals: bytes) -> list[Fields]:
    """Write ``journals`` and return the events of their trace."""
    names = [f"{number}.jsonl" for number, _ in enumerate(journals)]
    for name, content in zip(names, journals, strict=True):
        (folder / name).write_bytes(content)
    result = fastbg("report", *names, "--trace", "trace.json", cwd=folder)
    assert (result.returncode, result.stderr) == (0, b"Saved trace.json\n")
    return events(folder / "trace.json")


def events(path: Path) -> list[Fields]:
    """Return the events of a file that every viewer can read: numbers in range, and each end after its begin."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found: list[Fields] = json.loads(path.read_text("utf-8"), parse_constant=refuse)["traceEvents"]
    begins: dict[tuple[int, str], float] = {}
    for event in found:
        assert {"ph", "name", "pid", "tid"} <= event.keys()
        assert 0 < event["pid"] < 2**31
        assert event["ph"] == "M" or 0 <= event["ts"] < 2**63 / 1000
        assert event["ph"] != "X" or event["dur"] >= 0
        if event["ph"] == "b":
            begins[event["id2"]["local"], event["name"]] = event["ts"]
        elif event["ph"] == "e":
            assert event["ts"] >= begins.pop((event["id2"]["local"], event["name"]))
    return found


def named(found: list[Fields], name: str, phase: str) -> Fields:
    (event,) = (event for event in found if (event["name"], event["ph"]) == (name, phase))
    return event


def spans(found: list[Fields]) -> dict[str, tuple[float, float]]:
    """Return begin and end of each named asynchronous slice, in milliseconds after the first begin of all."""
    first = min(event["ts"] for event in found if event["ph"] == "b")
    begins = {event["name"]: event["ts"] for event in found if event["ph"] == "b"}
    ends = {event["name"]: event["ts"] for event in found if event["ph"] == "e"}
    return {name: ((begins[name] - first) / 1000, (end - first) / 1000) for name, end in ends.items()}


def test_requests_and_tasks_are_slices_with_arguments(tmp_path: Path) -> None:
    found = trace(tmp_path, mail())
    assert spans(found) == {
        "requests: response-first": (0, 504),
        "POST /mail": (0, 504),
        "until the response was sent": (0, 2),
        "shop.mail": (3, 503),
    }
    request, task = named(found, "POST /mail", "b"), named(found, "shop.mail", "b")
    assert request["args"] == {"status": 200, "verdict": "response-first", "request": "r1"}
    assert task["args"] == {"state": "finished", "where": "thread", "request": "r1"}
    assert request["ts"] == WALL_US
    assert request["id2"] != task["id2"], "slices with the same id must be nested, and a task may outlive its request"


def test_slices_are_grouped_in_their_process_by_verdict(tmp_path: Path) -> None:
    """Viewers group by the name of the outermost slice, which comes first; Perfetto by process only with this id."""
    found = trace(tmp_path, mail() + mail(request="r2", path="/other"))
    slices = [each for each in found if each.get("cat") == "request"]
    outermost = {each["id2"]["local"]: each["name"] for each in reversed(slices) if each["ph"] == "b"}
    assert list(outermost.values()) == ["requests: response-first"] * 2
    assert {each["pid"] for each in slices} == {7}
    assert not any("id" in each for each in found)


def test_processes_and_their_event_loops_have_names(tmp_path: Path) -> None:
    start = line(999, "recording_started", None, server_name="uvicorn", server_version="0.54.0")
    found = trace(tmp_path, start + mail())
    names = [(event["name"], event["pid"], event["args"]["name"]) for event in found if event["ph"] == "M"]
    assert names == [("process_name", 7, "uvicorn 0.54.0 (7)"), ("thread_name", 7, "event loop")]


def test_same_process_id_on_two_hosts_is_two_processes(tmp_path: Path) -> None:
    found = trace(tmp_path, mail(host="pod1"), mail(request="r2", host="pod2", boot="b2"))
    names = {event["args"]["name"]: event["pid"] for event in found if event["name"] == "process_name"}
    assert names.keys() == {"server (7) on pod1", "server (7) on pod2"}
    assert len(set(names.values())) == 2
    assert {event["pid"] for event in found if event["name"] == "POST /mail"} == set(names.values())


def test_blocked_event_loops_are_slices_of_their_track(tmp_path: Path) -> None:
    journal = b"".join(
        (
            received(),
            line(1060, "loop_blocked", place="shop.py:4 in pay", path="/mail", ms=60.0),
            line(1061, "task_queued", **TASK),
            sent(1062),
            line(1063, "task_started", **TASK, where="loop"),
            line(1263, "loop_blocked", **TASK, ms=200.0),
            line(1264, "task_finished", **TASK),
            line(1265, "request_finished"),
        )
    )
    found = trace(tmp_path, journal)
    begin = named(found, "POST /mail", "b")["ts"]
    blocked = [(each["name"], each["ts"] - begin, each["dur"], each["tid"]) for each in found if each["ph"] == "X"]
    assert sorted(blocked) == [
        ("blocked by shop.mail", 63_000, 200_000, 7),
        ("blocked by shop.py:4 in pay", 0, 60_000, 7),
    ]


def in_thread(thread_id: int, begin_ms: float, end_ms: float | None, request: str) -> bytes:
    """Return the lines of a request whose task runs in a thread."""
    begun = line(begin_ms, "task_started", request, **TASK, where="thread", thread_id=thread_id, waited_ms=0.5)
    before = received(1000, request) + sent(1001, request) + begun
    if end_ms is None:
        return before
    return before + line(end_ms, "task_finished", request, **TASK) + line(end_ms, "request_finished", request)


def test_tasks_in_threads_are_on_named_tracks(tmp_path: Path) -> None:
    found = trace(
        tmp_path, in_thread(70, 1002, 1100, "r1") + in_thread(71, 1003, 1200, "r2") + in_thread(70, 1101, 1150, "r3")
    )
    names = {each["tid"]: each["args"]["name"] for each in found if each["name"] == "thread_name"}
    assert names == {7: "event loop", 70: "thread 70", 71: "thread 71"}
    assert [each["name"] for each in found].count("thread_name") == 3
    tasks = [each for each in found if each.get("cat") == "task"]
    ran = [(each["ph"], each["tid"], each["args"]["request"], round(each["dur"] / 1000)) for each in tasks]
    assert sorted(ran) == [("X", 70, "r1", 98), ("X", 70, "r3", 49), ("X", 71, "r2", 197)]


def test_task_in_a_thread_without_an_end_stays_open(tmp_path: Path) -> None:
    found = trace(tmp_path, in_thread(70, 1002, None, "r1"))
    begin = named(found, "shop.mail", "B")
    assert (begin["tid"], begin["args"]["state"]) == (70, "started")


@pytest.mark.parametrize("thread_id", [7, 0, -1, 2**22, 10**30])
def test_thread_id_that_no_thread_has_gets_no_track(thread_id: int, tmp_path: Path) -> None:
    found = trace(tmp_path, in_thread(thread_id, 1002, 1100, "r1"))
    assert {each["tid"] for each in found} == {7}
    assert spans(found)["shop.mail"] == (2, 100)


def test_number_of_thread_tracks_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trace_events, "MAX_THREADS", 1)
    written: list[str] = []
    writer = trace_events.TraceEvents(written.append)
    aggregator = JournalAggregator(0, listener=writer)
    lines = in_thread(70, 1002, 1100, "r1") + in_thread(71, 1003, 1200, "r2") + in_thread(70, 1101, 1150, "r3")
    for each in lines.splitlines():
        found = read_journal_line(each)
        assert found is not None
        aggregator.add(found, len(each))
    writer.end()
    (tmp_path / "trace.json").write_text("".join(written), "utf-8")
    tasks = [each for each in events(tmp_path / "trace.json") if each.get("cat") == "task" and "args" in each]
    assert sorted((each["args"]["request"], each["ph"], each["tid"]) for each in tasks) == [
        ("r1", "X", 70), ("r2", "b", 7), ("r3", "X", 70),
    ]  # fmt: skip


def test_task_in_a_worker_is_in_the_process_of_the_worker(tmp_path: Path) -> None:
    """Also if the worker has its own boot and its own journal: its clock is moved by the wall clock."""
    worker: Fields = {"where": "worker", "worker": "worker@pod2", "server": "b1/7", "host": "pod2", "boot": "b2"}
    server = received() + line(1001, "task_queued", **TASK, where="worker") + sent() + line(1003, "request_finished")
    started = line(5, "task_started", **TASK, **worker, pid=70)
    found = trace(tmp_path, server, started + line(25, "task_finished", **TASK, **worker, pid=70))
    task = named(found, "shop.mail", "b")
    assert task["pid"] == 70
    assert task["ts"] == WALL_US
    assert named(found, "shop.mail", "e")["ts"] == WALL_US + 20_000


def test_dropped_task_is_a_mark_and_an_open_one_has_no_end(tmp_path: Path) -> None:
    dropped: Fields = {"task": "shop.log", "n": 1, "reason": "earlier-task-failed", "detail": "no"}
    journal = received() + sent() + line(1003, "task_started", **TASK, where="loop")
    found = trace(tmp_path, journal + line(1004, "task_dropped", **dropped))
    assert named(found, "shop.log", "n")["args"]["reason"] == "earlier-task-failed"
    assert named(found, "shop.mail", "b")["args"]["state"] == "started"
    assert "shop.mail" not in spans(found)
    assert "POST /mail" not in spans(found)


def test_trace_has_all_requests_and_keeps_none_in_memory(tmp_path: Path) -> None:
    write_long_journal(tmp_path / "journal.jsonl", 3000)
    result = fastbg("report", "--last", "0", "--trace", "trace.json", "journal.jsonl", cwd=tmp_path)
    assert result.returncode == 0
    found = events(tmp_path / "trace.json")
    assert sum(event["ph"] == "b" and event["cat"] == "request" for event in found) == 3 * 3000
    places = [number for number, event in enumerate(found) if event["ph"] == "e"]
    assert places[0] < 100, "a request is written when it is over"


def test_hostile_journal_makes_a_trace_that_can_be_read(tmp_path: Path) -> None:
    hostile = b"".join(
        (
            received(method="\x1b[2J</script>", path='"\u2028\ud800 🎉', wall_ns=10**40),
            line(1001, "task_queued", **TASK),
            line(1002, "task_started", **TASK, where="loop"),
            line(1003, "loop_blocked", **TASK, ms=1.7e308),
            line(1003, "loop_blocked", None, place="x", path="", ms=-1.7e308),
            line(900, "task_finished", **TASK),
            line(800, "request_finished"),
            received(1000, "r2", pid=-5, boot="b2", wall_ns=-1),
            received(1000, "r3", pid=10**30, boot="b3", wall_ns=5),
            received(500, "r4", pid=10**30, boot="b3"),
        )
    )
    found = trace(tmp_path, hostile)
    assert named(found, '\x1b[2J</script> "\u2028? 🎉', "b")
    assert "\\ud" not in (tmp_path / "trace.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("no/trace.json", "folder"),
        (".", "is a folder"),
        ("journal.jsonl", "the trace would replace a journal"),
        ("journal.jsonl.1", "the trace would replace a journal"),
    ],
)
def test_wrong_place_is_refused_before_anything_is_written(name: str, what: str, tmp_path: Path) -> None:
    journals = [tmp_path / "journal.jsonl.1", tmp_path / "journal.jsonl"]
    for journal in journals:
        journal.write_bytes(mail())
    result = fastbg("report", "journal.jsonl", "--trace", name, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert what in result.stderr.decode()
    assert f"  where: --trace {name}\n  fix: " in result.stderr.decode()
    assert [journal.read_bytes() for journal in journals] == [mail(), mail()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "journal.jsonl.1"]


def test_full_disk_is_an_error_of_the_trace(tmp_path: Path) -> None:
    write_long_journal(tmp_path / "journal.jsonl", 1000)
    result = fastbg("report", "journal.jsonl", "--trace", "/dev/full", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.decode().startswith("fastbg: the trace cannot be written: No space left on device\n")
    assert "Traceback" not in result.stderr.decode()
