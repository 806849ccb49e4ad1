"""The rows of a page: times and marks are those of the terminal, with witnesses and words."""

import json
from dataclasses import replace

import pytest

from fastbg.clock import monotonic_ns, time_ns
from fastbg.events import boot_id
from fastbg.evidence.history import JournalAggregator
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace, Write
from fastbg.evidence.verdict import ServerRecord
from fastbg.page.rows import Doing, encoded, row_of_record, row_of_result
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.report.timelines import Timed, marks_of
from tests.support.recordings import TASK, line, mail, received, sent
from tests.support.results import background, foreground, in_milliseconds
from tests.support.traces import answered, event, finished, task, trace


def failing() -> Trace:
    made = task(answered(trace(writes=0), 1002, size=100), 1003, "task_failed", error="ValueError: no")
    return in_milliseconds(finished(made))


def cut_off() -> Trace:
    made = in_milliseconds(task(answered(trace(writes=0), 1002, size=100), 1003, end=None))
    made.ended, made.ended_ns, made.server_gone = "gone", 1300 * 10**6, True
    return made


def recorded(*lines: bytes) -> RecordedRequest:
    aggregator = JournalAggregator(10)
    for each in b"".join(lines).splitlines():
        found = read_journal_line(each)
        assert found is not None
        aggregator.add(found, len(each))
    return aggregator.summary().last[-1]


DROPPED = (received(), sent(), line(1005, "task_dropped", **TASK, reason="exception"), line(1006, "request_finished"))
OPEN = (received(), sent(), line(1003, "task_started", **TASK, where="loop"))


@pytest.mark.parametrize("made", [background(), foreground(), failing(), cut_off()])
def test_row_of_a_sent_request_has_the_marks_of_its_bar(made: Trace) -> None:
    result = RequestResult.of(made)
    row = row_of_result(result, "1")
    compare(row.marks, result)
    assert [(span.start, span.end) for span in row.spans] == result.spans_ms
    assert row.waited == result.waited_ms


@pytest.mark.parametrize("lines", [(mail(),), DROPPED, OPEN], ids=["finished", "dropped", "open"])
def test_row_of_a_recorded_request_has_the_marks_of_its_bar(lines: tuple[bytes, ...]) -> None:
    request = recorded(*lines)
    compare(row_of_record(request, "1").marks, request)


def compare(marks: object, timed: Timed) -> None:
    assert isinstance(marks, tuple)
    assert [(mark.ms, mark.kind) for mark in marks] == marks_of(timed)


def test_each_mark_has_its_witness_and_its_event() -> None:
    marks = row_of_result(RequestResult.of(background()), "1").marks
    assert [(mark.witness, mark.text) for mark in marks] == [
        ("file", "log.txt got 'message'"),
        ("client", "the client had the whole response"),
    ]
    (failed, response) = row_of_result(RequestResult.of(failing()), "1").marks
    assert (failed.witness, failed.text) == ("server", "app.write_log failed: ValueError: no")
    assert response.kind == "response"
    dropped, _ = row_of_record(recorded(*DROPPED), "1").marks
    assert dropped.text == "shop.mail was dropped: exception"


def test_open_end_names_the_task_without_an_end() -> None:
    row = row_of_result(RequestResult.of(cut_off()), "1")
    assert [mark.text for mark in row.marks if mark.kind == "lost"] == ["app.write_log: lost"]
    assert row.spans[0].text == "app.write_log in a thread, started, not finished after 297 ms"


def test_response_that_was_not_sent_is_said_once() -> None:
    lost, end = line(1002, "response_lost", status=200), line(1006, "request_finished")
    why = "the client disconnected before the response was sent"
    assert row_of_record(recorded(received(), lost, end), "1").notes == ("no background task was queued", why)
    ran = (line(1001, "task_queued", **TASK), line(1003, "task_started", **TASK), line(1005, "task_finished", **TASK))
    (note,) = row_of_record(recorded(received(), lost, *ran, end), "1").notes
    assert note.startswith(why)


def test_fold_has_what_all_witnesses_saw_in_order() -> None:
    moments = row_of_result(RequestResult.of(background()), "1").moments
    assert {moment.witness for moment in moments} == {"client", "server", "file"}
    assert [moment.ms for moment in moments] == sorted(moment.ms or 0.0 for moment in moments)
    assert moments[0].text == "the client sent the request"


def test_time_of_another_boot_is_not_shown() -> None:
    made = background()
    made.events.append(event(1, "server", "task_queued", task="shop.mail", n=1, boot="another"))
    made.events.append(event(2 * 10**9, "server", "task_queued", task="shop.mail", n=2, boot=boot_id()))
    row = row_of_result(RequestResult.of(made), "1")
    assert [moment.ms for moment in row.moments if moment.text == "shop.mail was queued"] == [1000.0, None]


def test_running_request_says_what_it_does() -> None:
    request = replace(recorded(*OPEN), is_over=False, boot=boot_id())
    row = row_of_record(request, "1")
    assert (row.state, row.doing) == ("running", Doing("shop.mail runs in the event loop", 3.0, 1000.0, waits=False))
    assert [mark.kind for mark in row.marks] == ["response"]  # its open end is no news
    waiting = replace(request, tasks=(), server=ServerRecord())
    assert row_of_record(waiting, "1").doing == Doing("no response yet", 0.0, 1000.0, waits=True)


def test_request_of_another_boot_may_have_ended_with_it() -> None:
    request = replace(recorded(*OPEN), is_over=False)
    doing = row_of_record(request, "1").doing
    assert doing is not None
    assert (doing.text, doing.since) == (
        "shop.mail runs in the event loop (another boot or machine: whether it still runs is unknown)", 3.0
    )  # fmt: skip


def test_start_of_what_runs_is_on_the_monotonic_clock() -> None:
    request = replace(recorded(*OPEN), is_over=False, boot=boot_id())
    here = row_of_record(request, "1").doing
    assert here is not None
    assert here.began == 1000.0
    assert row_of_record(replace(request, is_over=True), "1").doing is None
    before = monotonic_ns() - (time_ns() - request.wall_ns)
    elsewhere = row_of_record(replace(request, boot="another"), "1").doing  # known from the wall clock only
    assert elsewhere is not None
    assert elsewhere.began == pytest.approx(before / 10**6, abs=60_000)


def test_writes_seen_in_files_have_marks() -> None:
    request = recorded(mail())
    request.writes = [Write("/data/log.txt", "hello\n", request.received_ns + 7_000_000, 0, 6)]
    assert [mark.text for mark in row_of_record(request, "1").marks if mark.kind == "write"] == ["log.txt got 'hello'"]


def test_texts_are_sent_once_and_escaped() -> None:
    row = replace(row_of_record(recorded(mail()), "1"), name="a\x1b")
    data = encoded([row, replace(row, key="2")])
    texts = data["texts"]
    assert isinstance(texts, list)
    assert len(texts) == len(set(texts))
    assert r"a\x1b" in texts
    assert len(json.dumps(encoded([row] * 100))) < 100 * 300
