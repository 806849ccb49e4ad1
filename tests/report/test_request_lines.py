"""The lines of requests for a terminal and for a pipe."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from fastbg.events import Appended, Notice
from fastbg.evidence.activity import ActiveRequest, ActiveTask, Activity
from fastbg.follow.lines import Piece
from fastbg.report.journal_stream import JournalStream
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.line_layout import label
from fastbg.report.lines import Entry, Sighting, has_line
from fastbg.report.request_lines import RequestPrinter
from tests.commands.test_tail import entry
from tests.evidence.test_activity import MS, answered, event

LOG = Path("/data/log.txt")
JOURNAL = Path("/data/journal.jsonl")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TZ", "UTC")


def lines(output: io.StringIO) -> list[str]:
    """Return the lines without their times, and without the line of the hour."""
    found = output.getvalue().splitlines()
    return [line.split("  ", 1)[-1].strip() for line in found if "minutes:seconds" not in line]


def request(**changes: object) -> ActiveRequest:
    activity = Activity()
    for each in answered(0):
        activity.add(each)
    found = activity.open[0]
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def piece(text: str) -> Piece:
    return Piece(text, 0, continued=False, complete=True)


def test_labels_are_short_and_different() -> None:
    assert [label(number) for number in (1, 9, 10, 26 * 9, 26 * 9 + 1)] == ["a1", "a9", "b1", "z9", "aa1"]
    assert len({label(number) for number in range(1, 10_000)}) == 9999


def test_terminal_shows_request_and_write_as_a_tree() -> None:
    output, found = Terminal(), request()
    printer = RequestPrinter({LOG: "log.txt"}, output)
    printer.event(Entry(JOURNAL, answered(0)[2], found), last=False)
    printer.piece(LOG, piece("first"), Sighting(102 * MS, 101 * MS, 6, found))
    printer.piece(LOG, piece("second"), Sighting(502 * MS, 501 * MS, 12, found, last=True))
    printer.piece(LOG, piece("whose"), Sighting(503 * MS, 501 * MS, 12))
    shown = lines(output)
    assert shown[0].startswith("POST /mail → 200 in 2.0 ms ")
    assert shown[0].endswith(" a1")
    assert shown[1].startswith("├ log.txt  first ")
    assert shown[1].endswith("100 ms after the response a1")
    assert shown[2].startswith("└ log.txt  second ")
    assert shown[3] == "? log.txt  whose"


def test_pipe_repeats_the_request_on_each_line() -> None:
    output, found = io.StringIO(), request()
    printer = RequestPrinter({LOG: "log.txt"}, output)
    printer.piece(LOG, piece("first"), Sighting(102 * MS, 101 * MS, 6, found))
    (line,) = lines(output)
    assert line == "POST /mail -> 200 in 2.0 ms  [r1]  100 ms after the response  log.txt  first"


@pytest.mark.parametrize(
    ("request_id", "sent", "shown"),
    [
        ("r1", "mine\x1b", r"[r1, X-Request-ID: mine\x1b]"),
        ("a1b2c3-1", "a1b2c301-0000-4000-8000-000000000001", "[a1b2c3-1]"),
    ],
)
def test_pipe_shows_the_clients_own_id(request_id: str, sent: str, shown: str) -> None:
    output, found = io.StringIO(), request(request_id=request_id, x_request_id=sent)
    RequestPrinter({LOG: "log.txt"}, output).piece(LOG, piece("first"), Sighting(102 * MS, 101 * MS, 6, found))
    assert shown in output.getvalue()


@pytest.mark.parametrize(
    ("seen_ms", "earliest_ms", "words"),
    [(1, 0, "1.0 ms before the response"), (3, 0, "order not known"), (3, 2.5, "1.0 ms after the response")],
)
def test_order_of_a_write_is_claimed_only_if_known(seen_ms: float, earliest_ms: float, words: str) -> None:
    output = io.StringIO()
    RequestPrinter({}, output).piece(LOG, piece("x"), Sighting(int(seen_ms * MS), int(earliest_ms * MS), 5, request()))
    assert words in output.getvalue()


def test_unsent_buffer_is_no_response_yet() -> None:
    found = request()
    assert found.sent is not None
    for buffered in (None, 4096):
        output = io.StringIO()
        found.sent = type(found.sent)(found.sent.sending_ns, found.sent.sent_ns, buffered)
        RequestPrinter({}, output).piece(LOG, piece("x"), Sighting(9 * MS, 8 * MS, 5, found))
        assert "7.0 ms after the send" in output.getvalue()


@pytest.mark.parametrize(
    ("name", "detail", "words"),
    [
        ("task_failed", {"error": "ValueError: no"}, "mail failed: ValueError: no"),
        (
            "task_dropped",
            {"reason": "own-response", "detail": "the response had its own"},
            "mail dropped: the response",
        ),
        ("task_retried", {"error": "ValueError: no"}, "mail failed, and is queued again: ValueError: no"),
        ("loop_blocked", {"ms": 401.2}, "mail blocked the event loop for 401 ms"),
        ("task_started", {"waited_ms": 812.0}, "mail waited 812 ms for a thread"),
        ("task_finished", {}, "mail finished"),
        ("task_queued", {"detail": "called before"}, "mail was queued: called before"),
        ("task_started", {"detail": "behind a middleware"}, "mail started: behind a middleware"),
    ],
)
def test_what_happens_to_a_task_is_a_line(name: str, detail: dict[str, Any], words: str) -> None:
    output = Terminal()
    entry = Entry(JOURNAL, event(400, name, task="shop.mail", n=0, **detail), request())
    RequestPrinter({}, output).event(entry, last=True)
    (line,) = lines(output)
    assert line.startswith(f"└ {words}")
    assert "398 ms" in line


def test_response_that_was_not_sent_says_why() -> None:
    output = Terminal()
    entry = Entry(JOURNAL, event(400, "response_lost", status=200), request(not_sent="the app ended"))
    RequestPrinter({}, output).event(entry, last=True)
    assert "→ the app ended (" in lines(output)[0]


@pytest.mark.parametrize("name", ["task_queued", "task_started"])
def test_usual_start_of_a_task_has_no_line(name: str) -> None:
    assert not has_line(Entry(JOURNAL, event(400, name, task="shop.mail", n=0), request()))
    assert has_line(Entry(JOURNAL, event(400, name, task="shop.mail", n=0, detail="unusual"), request()))


def test_end_of_a_task_that_has_just_written_is_no_news() -> None:
    found = request()
    found.add_write(399 * MS, 400 * MS)
    output = Terminal()
    printer = RequestPrinter({}, output)
    printer.event(Entry(JOURNAL, event(401, "task_finished", task="shop.mail", n=0), found), last=True)
    assert lines(output) == []
    printer.event(Entry(JOURNAL, event(901, "task_finished", task="shop.mail", n=0), found), last=True)
    assert "mail finished" in output.getvalue()


def test_exception_of_the_app_is_a_line() -> None:
    output = Terminal()
    found = request(error="ValueError: no", finished_ns=4 * MS)
    RequestPrinter({}, output).event(Entry(JOURNAL, event(4, "request_finished", error="x"), found), last=True)
    assert lines(output)[0].startswith("└ raised ValueError: no")


def test_waiting_and_lost_requests_are_lines() -> None:
    output = Terminal()
    printer = RequestPrinter({}, output)
    waiting = ActiveTask("shop.mail", 0, 0)
    printer.overdue(request(response_ns=None), None, 1500 * MS)
    printer.overdue(request(), waiting, 1502 * MS)
    waiting.where = "worker"
    printer.overdue(request(), waiting, 1502 * MS)
    printer.lost(request(), 1502 * MS)
    shown = lines(output)
    assert "POST /mail → no response for 1500 ms" in shown[0]
    assert "├ mail waits to start" in shown[1]
    assert "├ mail waits for a worker" in shown[2]
    assert "├ mail lost: server process 7 has ended" in shown[3]


def test_shutdown_and_lost_events_are_lines() -> None:
    output = io.StringIO()
    printer = RequestPrinter({}, output)
    printer.event(Entry(JOURNAL, event(1, "shutdown", None, unfinished=1)), last=False)
    waits = event(1, "shutdown", None, unfinished=3, requests=1, tasks=["shop.mail", "shop.\x1bx"], waits=True)
    printer.event(Entry(JOURNAL, waits), last=False)
    printer.event(Entry(JOURNAL, event(1, "shutdown", None, unfinished=0, requests=2, tasks=[])), last=False)
    printer.event(Entry(JOURNAL, event(1, "events_lost", None, count=3)), last=False)
    printer.event(Entry(JOURNAL, event(1, "task_failed", "old", task="shop.mail", n=0, error="E")), last=False)
    assert lines(output) == [
        "server process 7 shuts down with 1 unfinished task",
        r"server process 7 waits for 3 unfinished tasks and 1 unfinished request: mail, \x1bx, 1 more",
        "server process 7 shuts down with 2 unfinished requests",
        "3 events could not be written to the journal: requests may be missing",
        "?  mail failed: E  of an earlier request",
    ]


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 80, 200])
def test_lines_fit_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output = Terminal()
    printer = RequestPrinter({LOG: "log.txt"}, output)
    found = request(path="/精" * 60)
    printer.event(Entry(JOURNAL, answered(0)[2], found), last=False)
    printer.piece(LOG, piece("精" * 200), Sighting(102 * MS, 101 * MS, 6, found))
    printer.event(Entry(JOURNAL, event(4, "task_failed", task="shop.mail", n=0, error="精 x" * 99), found), last=True)
    limit = max(width, 48)  # the time, the mark and the status are never cut
    assert max(cell_len(line) for line in output.getvalue().splitlines()) <= limit


def test_files_of_the_example_may_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    printer = RequestPrinter({}, io.StringIO(), [LOG])
    printer.notice(Notice(1, LOG, "missing", "does not exist"))
    printer.notice(Notice(1, LOG, "appeared", "exists now"))
    assert capsys.readouterr().err == ""
    printer.notice(Notice(1, JOURNAL, "missing", "does not exist"))
    printer.notice(Notice(1, LOG, "truncated", "was truncated"))
    assert capsys.readouterr().err.splitlines() == [f"fastbg: waiting for {JOURNAL}", f"fastbg: {LOG} was truncated"]


def test_character_that_arrives_in_two_parts_is_shown_whole() -> None:
    output = io.StringIO()
    stream = JournalStream(RequestPrinter({LOG: "log.txt"}, output), [])
    for offset, data in enumerate((b"\xc3", b"\xa4\n")):
        stream.new(Appended(stream._start_ns, LOG, (1, 1), offset, data))
    stream.close()
    assert output.getvalue().endswith("log.txt  ä\n")


def test_last_line_of_a_request_closes_its_tree() -> None:
    output = Terminal()
    stream = JournalStream(RequestPrinter({LOG: "log.txt"}, output), [JOURNAL])
    task: dict[str, object] = {"task": "shop.mail", "n": 0}
    start = stream._start_ns
    journal = b"".join(
        entry(name, start + int(t_ms * MS), **fields)
        for t_ms, name, fields in (
            (0.0, "request_received", {"method": "POST", "path": "/mail"}),
            (1.0, "task_queued", task),
            (2.0, "response_sent", {"status": 200, "sending_ns": start + MS, "buffered": 0}),
            (3.0, "task_started", task | {"where": "thread"}),
            (9.0, "task_finished", task),
            (9.1, "request_finished", {}),
        )
    )
    stream.new(Appended(start + 8 * MS, LOG, (1, 1), 0, b"mail\n", start + 7 * MS))
    stream.new(Appended(start + 10 * MS, JOURNAL, (1, 2), 0, journal))
    stream.close()
    assert [line[:16] for line in lines(output)] == ["POST /mail → 200", "└ log.txt  mail "]


def test_probes_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    stream = JournalStream(JsonPrinter(sys.stdout), [JOURNAL])
    received = {"method": "OPTIONS", "path": "/"}
    lines = [entry("request_received", stream._start_ns, request=each, **received) for each in ("a1b2c3-probe1", "r1")]
    stream.new(Appended(stream._start_ns, JOURNAL, (1, 2), 0, b"".join(lines)))
    stream.close()
    (shown,) = capsys.readouterr().out.splitlines()
    assert json.loads(shown)["request"] == "r1"
