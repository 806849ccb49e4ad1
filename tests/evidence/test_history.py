"""The summary of a finished journal, and `fastbg report`."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.commands import report
from fastbg.commands.report import BAR_FROM, read, read_history
from fastbg.evidence import history as module
from fastbg.evidence.history import JournalAggregator, JournalSummary
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.worker_events import WorkerEvents
from fastbg.recorder.journal_lines import MAX_LINE_BYTES
from fastbg.recorder.request_ids import is_probe, uuid_of
from fastbg.recorder.rotation import numbers, part
from fastbg.report.history import summary as report_summary
from tests.support.processes import PATIENCE_S, fastbg, read_rest, terminal, wait_for
from tests.support.recordings import EVENTS_PER_REQUEST, MS, TASK, line, mail, received, sent, write_long_journal
from tests.support.servers import ROOT, fastbg_serve, fetch
from tests.support.traces import why

DONE = line(2000, "request_finished")
STARTED = line(1003, "task_started", **TASK, where="thread")


def summarize(*lines: bytes, last: int = 20) -> JournalSummary:
    """Summarize a journal of these lines."""
    aggregator = JournalAggregator(last)
    read(io.BytesIO(b"".join(lines)), None, aggregator)
    return aggregator.summary()


def only(*lines: bytes) -> RecordedRequest:
    (request,) = summarize(*lines).last
    return request


def verdict(*lines: bytes) -> tuple[str, str | None]:
    judgement = only(*lines).judgement
    assert judgement.evidence == (() if judgement.verdict == "unproven" else ("server",))
    return judgement.verdict, judgement.reason


# verdicts from the server alone


def test_request_has_its_times_from_the_moment_it_was_received() -> None:
    request = only(mail())
    assert (request.name, request.server.status, request.response_ms, request.done_ms) == (
        "POST /mail",
        200,
        2.0,
        503.0,
    )
    assert request.spans_ms == [(3.0, 503.0)]
    (task,) = request.tasks
    assert (task.name, task.state, task.where) == ("shop.mail", "finished", "thread")
    assert verdict(mail()) == ("response-first", None)


def test_task_that_ended_before_the_response_is_work_first() -> None:
    end = line(1004, "task_finished", **TASK)
    assert verdict(received(), STARTED, end, sent(1004), DONE) == (
        "work-first",
        "shop.mail finished before the response was sent",
    )


def test_task_that_runs_during_the_response_is_overlapping() -> None:
    request = only(received(), STARTED, sent(1004), line(1500, "task_finished", **TASK), DONE)
    assert (request.judgement.verdict, request.judgement.evidence) == ("overlapping", ("server",))
    assert "started 1.0 ms before, ended 496.0 ms after" in why(request.judgement)


def test_overlapping_task_that_waited_for_a_thread_was_called() -> None:
    """Its table shows that it started after the response."""
    late = line(1005, "task_started", **TASK, where="thread", waited_ms=2.0)
    request = only(received(), sent(1004), late, line(1500, "task_finished", **TASK), DONE)
    assert request.judgement.verdict == "overlapping"
    assert why(request.judgement) == (
        "shop.mail had been called when the response was sent, and ended after it "
        "(called 1.0 ms before, started 1.0 ms after, ended 496.0 ms after)"
    )


def test_failed_and_dropped_tasks() -> None:
    failed = line(1005, "task_failed", **TASK, error="ValueError: no")
    assert verdict(received(), sent(), STARTED, failed, DONE) == ("failed", "shop.mail failed: ValueError: no")
    queued, dropped = line(1001, "task_queued", **TASK), line(1005, "task_dropped", **TASK, reason="exception")
    assert verdict(received(), queued, sent(status=404), dropped, DONE) == ("dropped", "shop.mail dropped: exception")


def test_task_without_an_end_is_lost() -> None:
    assert verdict(received(), sent(), STARTED) == (
        "lost",
        "shop.mail started, never finished (the journal ends before that)",
    )
    history = summarize(received(), sent(), STARTED, mail(request="r2"))
    assert history.unfinished == 1
    assert (history.counts["lost"], history.counts["response-first"]) == (1, 1)


STOPPING = line(4200, "shutdown", None, unfinished=1, tasks=["shop.mail"], since_ns=500 * MS, waits=True)
STOPPED = line(9000, "shutdown", None, unfinished=1, tasks=["shop.mail"], since_ns=500 * MS, waits=False)
LOST_AT_SHUTDOWN = (
    "shop.mail started, never finished (the server began to shut down 3.2 s after it received the request)"
)


def test_task_without_an_end_is_lost_by_the_shutdown() -> None:
    assert verdict(received(), sent(), STARTED, STOPPING) == ("lost", LOST_AT_SHUTDOWN)
    assert verdict(received(), sent(), STARTED, STOPPING, STOPPED) == ("lost", LOST_AT_SHUTDOWN)
    cancelled = line(9000, "request_finished", error="CancelledError")
    reason = LOST_AT_SHUTDOWN.replace("request)", "request; CancelledError)")
    assert verdict(received(), sent(), STARTED, STOPPING, cancelled) == ("lost", reason)
    assert verdict(received(), STOPPING) == (
        "unproven",
        "the server began to shut down 3.2 s after it received the request, and the journal ends before the request"
        " finished",
    )
    end = line(4300, "task_finished", **TASK)
    assert verdict(received(), sent(), STARTED, STOPPING, end, DONE) == ("response-first", None)


def test_shutdown_is_only_of_its_own_process() -> None:
    open_request = (received(), sent(), STARTED)
    older = line(9000, "shutdown", None, unfinished=1, since_ns=8000 * MS)  # the process id is in use again
    for other in (
        line(4200, "shutdown", None, pid=8, unfinished=1),
        line(4200, "shutdown", None, boot="b2", unfinished=1),
        line(4200, "shutdown", None, host="another", unfinished=1),
        older,
    ):
        history = summarize(*open_request, other)
        assert why(history.last[0].judgement).endswith("(the journal ends before that)")
        assert (history.unfinished, history.shut_down) == (1, 0)
    history = summarize(STOPPED, *open_request)  # an earlier process had this id
    assert (history.unfinished, history.shut_down) == (1, 0)


def test_shutdown_loses_no_task_of_a_worker() -> None:
    queued = line(1001, "task_queued", task="shop.mail", n=0, where="worker")
    history = summarize(received(), queued, sent(), DONE, STOPPED)
    assert why(history.last[0].judgement) == "shop.mail queued, never finished (the journal ends before that)"
    assert (history.unfinished, history.shut_down) == (1, 0)


def test_report_knows_whether_the_server_still_waits() -> None:
    def warning(*lines: bytes) -> str:
        return " ".join(str(text) for text in report_summary(summarize(received(), sent(), STARTED, *lines)))

    again = "If that server still runs, run the report again later."
    assert again in warning()
    assert again in warning(STOPPING)  # it may still wait
    assert again not in warning(STOPPING, STOPPED)
    assert "1 request was not finished when the server shut down." in warning(STOPPED)


def test_finished_request_without_tasks_is_no_work() -> None:
    assert verdict(received(), sent(), DONE) == ("no-work", "no background task was queued")
    assert verdict(received(), sent(), line(2000, "request_finished", error="KeyError: x")) == (
        "no-work",
        "no background task was queued; the app raised KeyError: x",
    )
    assert verdict(received(), sent()) == ("unproven", "the journal ends before the request finished")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (
            sent(buffered=None),
            "whether the whole response had left the server is unknown: the server's write buffer could not be checked",
        ),
        (
            sent(bytes=99, buffered=99),
            "after the send, the server still held 99 bytes of the response in its buffer; `fastbg demo`",
        ),
        (
            sent(bytes=99, buffered=100),
            "100 bytes of the response in its buffer, which is all of it: uvloop before 0.23",
        ),
        (sent(bytes=70_000, buffered=70_200), "still held 70200 bytes of the response in its buffer; `fastbg demo`"),
        (sent(1600, sending_ns=1_400_000_000), "in the moment in which the server sent the response"),
        (line(1002, "response_lost", status=200), "the client disconnected before the response was sent"),
        (line(1002, "response_lost", status=200, detail="the app ended"), "the app ended"),
        (b"", "the journal has no response_sent event"),
    ],
)
def test_order_that_the_server_cannot_prove_is_unproven(response: bytes, expected: str) -> None:
    found, reason = verdict(received(), response, STARTED, line(1500, "task_finished", **TASK), DONE)
    assert found == "unproven"
    assert expected in (reason or "")


def test_thread_that_outlives_its_request_is_awaited() -> None:
    end = line(2500, "task_finished", **TASK)
    assert only(received(), sent(), STARTED, DONE, end).done_ms == 1500.0


def test_task_that_outlives_its_request_is_awaited() -> None:
    queued = line(1001, "task_queued", **TASK)
    start, end = line(2000.5, "task_started", **TASK), line(2500, "task_finished", **TASK)
    request = only(received(), queued, sent(), DONE, start, end)
    assert (request.judgement.verdict, request.done_ms) == ("response-first", 1500.0)


# requests of several processes in one journal


def test_requests_of_several_processes_and_boots_are_kept_apart() -> None:
    other = mail(boot="b2").splitlines(keepends=True)
    mixed = [one for pair in zip(mail().splitlines(keepends=True), other, strict=True) for one in pair]
    history = summarize(*mixed, mail(pid=8))
    assert (history.requests, history.boots, history.processes) == (3, frozenset({"b1", "b2"}), 3)
    assert history.counts["response-first"] == 3


def test_id_that_is_used_again_is_another_request() -> None:
    assert summarize(mail(), mail(), mail()).counts["response-first"] == 3


def test_id_that_is_used_again_too_early_proves_nothing() -> None:
    history = summarize(received(), sent(), STARTED, mail())
    assert [request.judgement.verdict for request in history.last] == ["unproven", "unproven"]
    assert "used again" in why(history.last[0].judgement)


def test_blocked_loop_has_a_task_and_shutdown_no_request() -> None:
    lines = mail().splitlines(keepends=True)
    lines.insert(4, line(1010, "loop_blocked", **TASK, ms=60.0))
    history = summarize(*lines, line(2000, "shutdown", None, unfinished=1))
    assert (history.strays, history.last[0].judgement.verdict) == (0, "response-first")
    assert [task.blocked_ms for task in history.last[0].tasks] == [60.0]


def test_events_without_a_start_are_counted() -> None:
    history = summarize(sent(), DONE, line(1, "task_started", None, **TASK), mail(request="r2"))
    assert (history.strays, history.requests, history.events) == (3, 1, 3 + EVENTS_PER_REQUEST)


def test_lost_events_are_counted_and_prove_nothing() -> None:
    lost, other = line(1500, "events_lost", None, count=3), line(1600, "events_lost", None, count=2, pid=8)
    open_before = received() + line(1001, "task_queued", **TASK)
    history = summarize(open_before, lost, other, line(1700, "events_lost", None), mail(request="r2"))
    assert (history.lost, history.strays, history.events) == (5, 0, 5 + EVENTS_PER_REQUEST)
    assert [request.judgement.verdict for request in history.last] == ["unproven", "response-first"]
    assert why(history.last[0].judgement) == module.GAP


def test_durations_are_those_of_responses_and_tasks() -> None:
    started = line(1003, "task_started", task="shop.mail", n=1, where="thread")
    history = summarize(mail(), mail(request="r2"), received(request="r3"), received() + started)
    assert (history.responses.count, history.responses.min_ns, history.responses.max_ns) == (2, 2 * MS, 2 * MS)
    assert (history.works.count, history.works.min_ns, history.works.max_ns) == (2, 500 * MS, 500 * MS)
    assert history.unfinished == 2


def test_journal_names_its_hosts_boots_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {**TASK, "where": "worker", "server": "b1/7"}
    lines = (
        received(host="web"),
        line(1003, "task_started", **about, boot="b2", pid=9, host="worker"),
        received(request="r2", host=""),
        received(request="r3", pid=8, host="web"),
    )
    history = summarize(*lines)
    assert (history.hosts, history.boots, history.processes) == (frozenset({"web", "worker"}), frozenset({"b1"}), 3)
    assert [request.host for request in history.last] == ["web", None, "web"]
    monkeypatch.setattr(module, "MAX_HOSTS", 1)
    monkeypatch.setattr(module, "MAX_COUNTED", 2)
    history = summarize(*lines)
    assert (history.hosts, history.processes, history.requests) == (frozenset({"web"}), 2, 3)


def test_events_of_workers_without_their_request_are_strays() -> None:
    about = {**TASK, "where": "worker", "server": "b1/7"}
    started = line(1003, "task_started", **about)
    assert summarize(started, line(1004, "task_started", None, **about)).strays == 1
    workers = WorkerEvents(module.MAX_HELD)
    aggregator = JournalAggregator(20, "", workers)
    read(io.BytesIO(started + line(1004, "task_started", None, **about) + sent()), None, aggregator)
    assert (aggregator.summary().strays, workers.count) == (1, 1)


def test_lost_and_deleted_events_may_be_those_of_a_worker() -> None:
    for lines, parts, flaw in (
        (mail(), 0, None),
        (mail(), 1, module.SKIPPED),
        (line(1, "events_lost", None, count=1), 0, module.GAP),
    ):
        workers = WorkerEvents(module.MAX_HELD)
        aggregator = JournalAggregator(20, "", workers)
        read(io.BytesIO(lines), None, aggregator)
        aggregator.skip(parts)
        assert (workers.flaw, aggregator.summary().skipped_parts) == (flaw, parts)


def test_deleted_part_ends_the_requests_before_it() -> None:
    aggregator = JournalAggregator(20)
    read(io.BytesIO(received()), None, aggregator)
    aggregator.skip(0)
    assert aggregator.unfinished == [("b1/7", "r1")]
    aggregator.skip(2)
    read(io.BytesIO(mail(request="r2")), None, aggregator)
    aggregator.skip(1)
    history = aggregator.summary()
    assert (history.skipped_parts, history.unfinished, history.last[0].judgement.reason) == (3, 0, module.SKIPPED)


def test_response_of_a_client_that_left_has_its_status() -> None:
    request = only(received(), line(1002, "response_lost", status=404), DONE)
    assert (request.server.status, request.server.not_sent, request.server.sent) == (
        404,
        "the client disconnected before the response was sent",
        None,
    )
    assert (request.response_ms, request.judgement.verdict) == (None, "no-work")


def test_request_of_another_version_may_lack_fields() -> None:
    request = only(line(1000, "request_received"), line(1001, "weather", sunny=True), sent(), DONE)
    assert (request.name, request.journal, request.more_tasks) == ("? ?", "", 0)
    assert JournalAggregator(20).only_foreign is False


def test_queued_task_of_an_ended_call_is_awaited() -> None:
    queued, dropped = line(1001, "task_queued", **TASK), line(2500, "task_dropped", **TASK, reason="exception")
    assert verdict(received(), queued, sent(), DONE)[0] == "lost"
    history = summarize(received(), queued, sent(), DONE, dropped, line(2600, "task_started", **TASK))
    assert (history.counts["dropped"], history.strays) == (1, 1)


# reading


def test_other_lines_are_counted_and_ignored() -> None:
    history = summarize(
        b'{"t_ns": 1, "wal\n', b"\n", mail(), b"\xff\xfe\n", b"x" * 3 * MAX_LINE_BYTES + b"\n", mail(), b'{"torn'
    )
    assert (history.foreign, history.requests) == (4, 2)
    assert history.counts["response-first"] == 2


def test_line_across_the_size_is_read_to_its_end() -> None:
    lines = mail().splitlines(keepends=True)
    data = b"".join(lines)
    for size in range(len(data) + 1):
        aggregator = JournalAggregator(20)
        read(io.BytesIO(data), size, aggregator)
        started = sum(len(b"".join(lines[:number])) < size for number in range(len(lines)))
        assert (aggregator.summary().events, aggregator.foreign) == (started, 0)


def test_line_with_an_impossible_time_is_not_an_event() -> None:
    history = summarize(received(), sent().replace(str(1002 * MS).encode(), b"9" * 400), DONE)
    assert (history.foreign, history.last[0].response_ms) == (1, None)
    times = (-1, 0, module.MAX_T_NS - 1, module.MAX_T_NS)
    history = summarize(*(received().replace(str(1000 * MS).encode(), str(t_ns).encode()) for t_ns in times))
    assert (history.foreign, [request.received_ns for request in history.last]) == (2, [*times[1:3]])


@pytest.mark.parametrize("server", ["b1/²", "b1/" + "9" * 5000, "/", "b1"])
def test_worker_may_name_any_server(server: str) -> None:
    history = summarize(received(), line(1003, "task_started", **TASK, where="worker", server=server), DONE)
    assert (history.requests, history.strays) == (1, 1)


@given(st.lists(st.sampled_from([*mail().splitlines(keepends=True), *mail(pid=8).splitlines(keepends=True), b"{\n"])))
def test_lines_in_any_order_give_every_request_one_verdict(lines: list[bytes]) -> None:
    history = summarize(*lines)
    assert sum(history.counts.values()) == history.requests == len(history.last) or history.requests > 20
    assert history.events + history.foreign == len(lines)


def test_probes_are_no_requests() -> None:
    probe = mail(request="a1b2c3-probe1")
    history = summarize(probe, mail(), probe)
    assert (history.requests, history.events, history.counts["response-first"]) == (1, EVENTS_PER_REQUEST, 1)
    assert [request.request_id for request in history.last] == ["r1"]
    only_probes = JournalAggregator(5)
    read(io.BytesIO(b"torn\n" + probe), None, only_probes)
    assert not only_probes.only_foreign


def test_only_the_last_requests_are_kept_in_their_order() -> None:
    history = summarize(*(mail(request=f"r{number}") for number in range(50)), last=3)
    assert [request.request_id for request in history.last] == ["r47", "r48", "r49"]
    assert history.requests == 50
    assert summarize(mail(), last=0).last == ()


def test_memory_of_unfinished_requests_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 10_000)
    aggregator = JournalAggregator(5)
    lines = [
        one
        for number in range(1000)
        for one in (received(request=f"r{number}"), line(1001, "task_queued", f"r{number}", **TASK))
    ]
    read(io.BytesIO(b"".join(lines)), None, aggregator)
    history = aggregator.summary()
    assert history.unfinished < 100
    assert history.counts["unproven"] + history.counts["lost"] == 1000
    assert history.counts["lost"] == history.unfinished


def test_ended_requests_need_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 2 * len(mail()))
    history = summarize(received(), line(1001, "task_queued", **TASK), *(mail(request=f"r{n}") for n in range(2, 50)))
    assert (history.counts["lost"], history.counts["response-first"]) == (1, 48)


def test_memory_of_unfinished_tasks_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 100_000)
    request = only(received(), *(line(1001 + n, "task_queued", task="shop.mail", n=n) for n in range(2000)), DONE)
    assert request.judgement.verdict == "unproven"
    assert len(request.tasks) == module.MAX_TASKS
    assert request.more_tasks > 0


# the command


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the journal of a finished demo."""
    folder = tmp_path_factory.mktemp("demo")
    assert fastbg("demo", "--quiet", "--work", "0.1", cwd=folder).returncode == 0
    return folder / ".fastbg" / "journal.jsonl"


def test_report_shows_the_requests_of_the_demo(recorded: Path) -> None:
    before = recorded.read_bytes()
    result = fastbg("report", recorded)
    assert (result.returncode, result.stderr) == (0, b"")
    assert recorded.read_bytes() == before
    text = result.stdout.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"POST /background_tasks [ ━]*●", text)
    assert re.search(r"POST /foreground_tasks [ ━]*●", text)
    assert re.search(r"POST /sub-dependency/background_tasks +200 +[\d.]+ +response-first *\n"
                     r"(  fastbg\.example\.app\.write_log +thread +[\d.]+ +[\d.]+ finished *\n){2}"
                     r"  fastbg\.example\.app\.bg_task +thread +[\d.]+ +[\d.]+ finished *\n", text)  # fmt: skip
    flat = " ".join(text.split())
    assert "7 requests: 5 response-first, 2 no-work. Response sent after " in flat
    assert "the server only. A journal does not record clients or files." in flat
    assert text.endswith("\n")


def test_bars_have_the_times_of_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    control = received(request="r2", path="/control") + sent(1500, "r2") + line(1501, "request_finished", "r2")
    journal.write_bytes(mail() + control)
    text = fastbg("report", journal).stdout.decode()
    assert re.search(r"POST /mail +●┄{49} *\n", text)
    assert re.search(r"POST /control +━{50}● *\n", text)


def test_json_report_has_the_same_requests(recorded: Path) -> None:
    result = fastbg("report", "--json", "--last", "2", recorded)
    assert (result.returncode, result.stderr) == (0, b"")
    written = json.loads(result.stdout)
    assert written["journal"] == str(recorded)
    assert written["summary"]["requests"] == 7
    assert written["summary"]["response_first"] == 5
    events = [json.loads(line) for line in recorded.read_bytes().splitlines()]
    assert written["events"] == sum(each["request"] is None or not is_probe(each["request"]) for each in events)
    assert written["events"] < len(events)
    started = {(each["request"], each["n"]): each["t_ns"] for each in events if each["event"] == "task_started"}
    ended = {(each["request"], each["n"]): each["t_ns"] for each in events if each["event"] == "task_finished"}
    assert written["summary"]["task_ms"]["min"] == round(min(ended[task] - started[task] for task in started) / 1e6, 3)
    first, second = written["requests"]
    assert first["x_request_id"] == uuid_of(first["request_id"]) is not None
    assert (first["path"], first["verdict"]) == ("/sub-dependency/background_tasks", "response-first")
    assert [task["state"] for task in first["tasks"]] == ["finished"] * 3
    assert first["response_ms"] < first["tasks"][0]["finished_ms"] < first["done_ms"]
    assert (second["path"], second["tasks"]) == ("/foreground_tasks", [])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", first["received"])


def test_last_limits_the_requests_that_are_shown(recorded: Path) -> None:
    text = fastbg("report", "--last", "1", recorded).stdout.decode()
    assert "the last 1 request:" in text
    assert "POST /background_tasks" not in text
    assert "7 requests: 5 response-first" in text
    assert "●" not in fastbg("report", "--last", "0", recorded).stdout.decode()


def test_journal_can_be_read_from_a_pipe(recorded: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fastbg", "report", "--json", "-"], input=recorded.read_bytes(), capture_output=True
    )
    assert json.loads(result.stdout)["summary"]["requests"] == 7


def test_task_that_was_killed_with_its_server_is_lost(tmp_path: Path) -> None:
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    with fastbg_serve("--work", "3600", cwd=tmp_path) as url:
        fetch("POST", f"{url}/send-notification/a@b.c")
        started = wait_for(journal, b"task_started.*\n")
        os.kill(json.loads(started.splitlines()[-1])["pid"], signal.SIGKILL)
    result = fastbg("report", journal)
    assert result.returncode == 0
    flat = " ".join(result.stdout.decode().split())
    assert "1 request: 1 lost." in flat
    assert "write_log started, never finished (the process of the server is gone)" in flat
    assert re.search(r"Process \d+ \(uvicorn [\d.]+\) is gone: 1 task of 1 request unfinished\.", flat)
    assert "when the journal ended" not in flat


def test_task_that_still_runs_is_not_lost(tmp_path: Path) -> None:
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    with fastbg_serve("--work", "3600", cwd=tmp_path) as url:
        fetch("POST", f"{url}/send-notification/a@b.c")
        started = wait_for(journal, b"task_started.*\n")
        flat = " ".join(fastbg("report", journal).stdout.decode().split())
        document = json.loads(fastbg("report", "--json", journal).stdout)
        os.kill(json.loads(started.splitlines()[-1])["pid"], signal.SIGKILL)
    assert "1 request: 1 unproven." in flat
    assert "write_log started, and the process of the server still runs" in flat
    assert re.search(r"Process \d+ \(uvicorn [\d.]+\) still runs: 1 task of 1 request unfinished\.", flat)
    (process,) = document["unfinished_processes"]
    assert [process["state"], process["requests"], process["tasks"]] == ["running", 1, 1]
    assert process["server"].startswith("uvicorn ")


def test_unreadable_lines_are_reported(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"one\n" + sent() + mail(request="r2") + mail(request="r3", boot="b2") + b'{"torn')
    flat = " ".join(fastbg("report", journal).stdout.decode().split())
    assert "2 lines are not events" in flat
    assert "1 event belongs to requests whose start is not in the journal" in flat
    assert "The journal covers 2 boots" in flat


def test_control_characters_of_a_journal_are_escaped(tmp_path: Path) -> None:
    nasty = "\x1b[31m[red]x[/red]\u202e\x9b2J\n"
    journal = tmp_path / "journal.jsonl"
    failed = line(1004, "task_failed", task=nasty, n=0, error=nasty)
    start = line(1003, "task_started", task=nasty, n=0, where=nasty)
    journal.write_bytes(received(path=nasty, method=nasty, wall_ns=10**30) + sent() + start + failed + DONE)
    result = fastbg("report", journal)
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"\x1b[31m[red]x" in text
    assert json.loads(fastbg("report", "--json", journal).stdout)["requests"][0]["received"] is None


def test_terminal_without_unicode_gets_ascii(recorded: Path) -> None:
    result = fastbg("report", "--last", "1", recorded, PYTHONIOENCODING="ascii", COLUMNS="100")
    assert result.stdout.isascii()
    assert re.search(rb"POST /foreground_tasks +=+R", result.stdout)


def test_empty_journal_has_no_requests(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").touch()
    result = fastbg("report", "journal.jsonl", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"0 requests." in result.stdout


@pytest.mark.parametrize(
    ("name", "what"),
    [("missing", "No such file"), ("app.py", "not a journal"), ("a\x1b", "No such file")],
)
def test_file_that_is_not_a_journal_is_refused(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "app.py").write_text("import this\n")
    result = fastbg("report", name, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    complaint = result.stderr.decode()
    assert what in complaint
    assert "fix: name the journal.jsonl" in complaint
    assert "\x1b" not in complaint
    assert "Traceback" not in complaint


# a journal in parts


def in_parts(folder: Path, *files: bytes, first: int = 1) -> Path:
    """Write a journal in parts; the last one is ``journal.jsonl``."""
    journal = folder / "journal.jsonl"
    for number, content in enumerate(files[:-1], first):
        part(journal, number).write_bytes(content)
    journal.write_bytes(files[-1])
    return journal


def test_parts_are_read_as_one_journal_in_their_order(tmp_path: Path) -> None:
    lines = mail().splitlines(keepends=True)
    others = [mail(request=f"r{number}") for number in range(2, 13)]
    journal = in_parts(tmp_path, *([*lines[:2], *others[:5]]), lines[2], *others[5:], *lines[3:5], lines[5])
    assert part(journal, 10).exists()
    history = read_history(journal, last=20)
    assert (history.requests, history.strays, history.skipped_parts) == (12, 0, 0)
    assert history.counts["response-first"] == 12
    assert [request.request_id for request in history.last] == [f"r{number}" for number in range(1, 13)]


def test_journal_whose_rotation_was_killed_is_read(tmp_path: Path) -> None:
    journal = in_parts(tmp_path, mail(), b"")
    journal.unlink()
    assert read_history(journal, last=20).requests == 1


def test_requests_without_a_start_have_no_verdict(tmp_path: Path) -> None:
    lines = mail().splitlines(keepends=True)
    journal = in_parts(tmp_path, b"".join(lines[2:4]) + mail(request="r2"), lines[4] + lines[5], first=4)
    result = fastbg("report", journal)
    flat = " ".join(result.stdout.decode().split())
    assert "1 request: 1 response-first." in flat
    assert "3 parts of the journal were deleted by rotation and are not counted" in flat
    assert "4 events belong to requests whose start is not in the journal" in flat
    assert json.loads(fastbg("report", "--json", journal).stdout)["skipped_parts"] == 3


def test_request_with_a_deleted_end_is_unproven(tmp_path: Path) -> None:
    lines = mail().splitlines(keepends=True)
    journal = in_parts(tmp_path, b"".join(lines[:4]), lines[4], lines[5], mail(request="r2"))
    part(journal, 2).unlink()
    history = read_history(journal, last=20)
    assert (history.counts["unproven"], history.counts["response-first"], history.counts["lost"]) == (1, 1, 0)
    assert "deleted" in why(history.last[0].judgement)


def test_rotation_while_the_parts_are_opened_loses_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = in_parts(tmp_path, mail(request="r1"), mail(request="r2"))

    def rotated_meanwhile(path: Path) -> list[int]:
        if not part(journal, 2).exists():
            path.rename(part(path, 2))
            path.write_bytes(mail(request="r3"))
        return numbers(path)

    monkeypatch.setattr(report, "numbers", rotated_meanwhile)
    assert [request.request_id for request in read_history(journal, last=20).last] == ["r1", "r2"]


def test_later_lines_are_not_in_the_report(tmp_path: Path) -> None:
    journal = in_parts(tmp_path, mail(request="r1"), mail(request="r2"))
    aggregator = JournalAggregator(20)
    with ExitStack() as stack:
        parts = report.open_parts(journal, stack)
        for file in (part(journal, 1), journal):
            with file.open("ab") as late:
                late.write(mail(request="r3"))
        for each in parts:
            read(each.stream, each.size, aggregator)
    assert aggregator.summary().requests == 2


# a long journal

SHORT, LONG = 3_000, 15_000  # events; tests/benchmarks measures a million in a whole process
PEAK = """
import sys, tracemalloc
from pathlib import Path
from fastbg.commands.report import read_history
tracemalloc.start()
read_history(*map(Path, sys.argv[1:]), last=20)
print(tracemalloc.get_traced_memory()[1])
"""


def peak_bytes(*journals: Path) -> int:
    """Return the peak memory of Python while another process reads ``journals``."""
    result = subprocess.run([sys.executable, "-c", PEAK, *journals], capture_output=True, check=True, cwd=ROOT)
    return int(result.stdout)


def test_long_journal_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    short, long = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    write_long_journal(short, SHORT // EVENTS_PER_REQUEST)
    write_long_journal(long, LONG // EVENTS_PER_REQUEST)
    requests = LONG // EVENTS_PER_REQUEST
    assert peak_bytes(long) < peak_bytes(short) + 20 * requests  # one more number per request would exceed it
    assert peak_bytes(long, long) < peak_bytes(short, short) + 40 * requests
    summary = json.loads(fastbg("report", "--json", long).stdout)["summary"]
    assert summary["requests"] == requests == 2_500
    assert (summary["failed"], summary["lost"]) == (requests // 100, (requests + 499) // 1000)
    assert summary["response_first"] == requests - requests // 100 - (requests + 499) // 1000
    assert summary["task_ms"] == {"min": 8.0, "p50": 8.0, "p95": 8.0, "max": 8.0}


def test_progress_bar_is_on_a_terminal_only(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    padded = received(path="x" * (MAX_LINE_BYTES // 2))  # few lines, because progress depends on bytes
    journal.write_bytes(padded * (1 + BAR_FROM // len(padded)) + mail(request="r2"))
    assert journal.stat().st_size > BAR_FROM
    result = fastbg("report", "--last", "1", journal)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"reading" not in result.stdout
    with terminal("report", "--last", "1", journal) as (process, screen):
        output = read_rest(screen)
        assert process.wait(PATIENCE_S) == 0
    assert re.search(rb"reading.*MB", output)
    assert output.count(b"\x1b[?25l") == output.count(b"\x1b[?25h") > 0  # the cursor is visible again
    assert b"\x1b[2K" in output[output.rindex(b"reading") :]  # the bar is erased


def test_ctrl_c_ends_the_reading(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    write_long_journal(journal, 10)
    with subprocess.Popen(
        [sys.executable, "-m", "fastbg", "report", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        descriptor = process.stdin.fileno()
        os.set_blocking(descriptor, True)
        block = journal.read_bytes()
        for _ in range(200):  # more than a pipe holds: the reader has started when all is written
            os.write(descriptor, block)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaint) == (130, b"")


def test_later_looks_at_a_held_response_are_used() -> None:
    held = [line(t_ms, "response_held", buffered=buffered) for t_ms, buffered in ((1003, 127), (1500, 0))]
    started, ended = line(1003, "task_started", **TASK, where="loop"), line(1500, "task_finished", **TASK)
    history = summarize(
        received() + line(1001, "task_queued", **TASK) + sent(buffered=127) + held[0] + started + held[1] + ended + DONE
    )
    assert history.last[0].judgement.verdict == "overlapping"
    assert (history.last[0].response_ms, history.strays) == (3, 0)
