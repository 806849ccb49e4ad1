"""The terminal output of a finished run."""

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from fastbg.evidence.results import OtherWrite, RequestResult, percentile
from fastbg.evidence.trace import ExpectedWrite, ReceivedBody, Trace
from fastbg.report.console import final, live, overview
from fastbg.report.document import document
from fastbg.report.picture import save_picture
from fastbg.report.sentences import conclusion, waiting
from fastbg.report.tables import written
from fastbg.report.timelines import Bar
from tests.support.results import background, foreground, in_milliseconds, run, runs
from tests.support.traces import LOG, answered, expecting, finished, requested, sent, task, trace, wrote

NASTY = "\x1b[31m[red]x[/red]:smile:\u202e\x9b2J\n"


def shown(renderable: object, *, width: int = 80, terminal: bool = False, encoding: str = "utf-8") -> str:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")
    console = Console(file=buffer, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    console.print(renderable)
    buffer.seek(0)
    return buffer.read()


def bar(made: Trace, *, width: int = 50, now_ms: float | None = None, encoding: str = "utf-8") -> str:
    return shown(Bar(RequestResult.of(made), 500.0, now_ms), width=width, encoding=encoding).rstrip("\n")


def test_bar_shows_the_wait_the_response_the_task_and_the_write() -> None:
    line = bar(background())
    assert line[0] == "●"
    assert set(line[1:48].strip()) == {"┄"}
    assert line.rstrip().endswith("◆")


def test_bar_of_the_control_shows_that_the_client_waited() -> None:
    line = bar(foreground()).rstrip()
    assert re.fullmatch("━+◆●", line), line


def test_bar_of_a_growing_request_ends_at_the_present() -> None:
    pending = in_milliseconds(trace())
    assert len(bar(pending, now_ms=250).rstrip()) == pytest.approx(25, abs=1)
    assert len(bar(pending, now_ms=500).rstrip()) == pytest.approx(50, abs=1)


def test_marks_that_fall_on_one_column_stand_side_by_side() -> None:
    made = wrote(task(sent(answered(trace(), 1002, size=108), 1001, size=100), 1001), 1001, offset=100)
    assert bar(in_milliseconds(made)).rstrip() == "◆●"
    late = answered(trace(writes=2), 1500, size=0)
    assert bar(in_milliseconds(wrote(wrote(late, 1500, offset=1), 1500, offset=9, n=1))).endswith("●◆◆")


def test_bar_needs_nothing_but_ascii_where_there_is_nothing_else() -> None:
    assert bar(foreground(), encoding="ascii").rstrip() == "=" * 48 + "WR"


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_report_fits_its_width(width: int) -> None:
    lines = shown(final(run(), encoding="utf-8"), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("◆" in line for line in lines)


def test_report_names_verdicts_witnesses_and_evidence() -> None:
    text = shown(final(run(), encoding="utf-8"), width=120)
    assert re.search(r"notification +2\.0 +502 +500 +response-first *\n  POST / → 200 +client\+file, server", text)
    assert re.search(r"control +501 +499 +-2\.0 +work-first \(expected\) *\n  POST / → 200 +file\+server", text)
    assert "Evidence in /data: README.md, log.txt, journal.jsonl" in text


def test_unmet_expectation_is_marked_and_told() -> None:
    made = background()
    expecting(made, verdict="work-first")
    text = shown(final(run(made), encoding="utf-8"), width=120)
    assert "✗ response-first" in text
    assert "notification: not as expected" in text
    assert "verdict: expected work-first, was response-first (client+file and server)" in text
    assert text.count("●┄┄") == 2  # once with all time lines, once with the unmet expectation
    assert "NOT response-first" in shown(final(run(made), encoding="ascii"), width=120, encoding="ascii")


@pytest.mark.parametrize(
    ("traces", "sentence"),
    [
        ([background()], "1 response-first. The client waited 2.0 ms for the response. The first expected write"),
        ([foreground()], "1 work-first. The client waited 501 ms for the response."),
        ([finished(answered(trace(writes=0, verdict="no-work"), 1002, size=100))], "1 no-work. The client waited"),
        (
            [background(), foreground()],
            "1 response-first, 1 work-first. The clients waited 2.0 to 501 ms for the response, the longest time in "
            "control. The first expected write was seen 500 ms after the response.",
        ),
        (
            [expecting(background(), verdict="lost"), foreground()],
            "1 of 2 requests was not as expected. 1 response-first, 1 work-first.",
        ),
    ],
)
def test_conclusion_of_one_request(traces: list[Trace], sentence: str) -> None:
    assert conclusion(run(*traces)).plain.startswith(sentence)


def test_conclusion_names_instant_writes_as_too_close() -> None:
    made = wrote(task(sent(answered(trace(), 1002, size=108), 1001, size=100), 1002), 1001, offset=100)
    text = shown(final(run(in_milliseconds(finished(made))), encoding="utf-8"), width=120)
    assert "the write was already in the file; the server's events prove the order" in text
    assert "after the response" not in text


def test_server_that_died_is_told_with_its_last_lines() -> None:
    text = shown(final(run(stopped="the server ended with code 1", stderr=("Boom", NASTY)), encoding="utf-8"))
    assert "the server ended with code 1" in text
    assert "| Boom" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_from_outside_acts_on_the_terminal(terminal: bool) -> None:
    made = in_milliseconds(finished(task(trace(), 1010, "task_failed", error=NASTY, reason=NASTY)))
    made.body = ReceivedBody(NASTY)
    expecting(requested(made, name=NASTY), writes=(*made.expected.writes, ExpectedWrite(LOG, NASTY, True)))
    wrote(made, 1_100_000_000, offset=100, n=0)
    made.expected.writes[0].text = NASTY
    result = run(made, server=NASTY, remarks=(NASTY,), stopped=NASTY, stderr=(NASTY,))
    for renderable in (final(result, encoding="utf-8"), live(result, encoding="utf-8", now_ns=2 * 10**9)):
        text = shown(renderable, terminal=terminal, width=200)
        assert not re.search("\x1b(?!\\[[0-9;]*m)|[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e]", text)
        if not terminal:
            assert "\x1b" not in text
        assert r"\x1b[31m[red]x[/red]:smile:\u202e\x9b2J\n" in text


def test_document_has_the_fields_that_others_rely_on() -> None:
    written = json.loads(json.dumps(document(runs())))
    assert written["fastbg"] == "0"
    assert written["versions"] == {"python": "3", "fastapi": "1", "starlette": "2", "uvicorn": "3", "httpx": "4"}
    assert written["ok"] is True
    request = written["requests"][0]
    assert {key: request[key] for key in ("verdict", "expected", "evidence", "response_ms", "write_ms", "lead_ms")} == {
        "verdict": "response-first",
        "expected": "response-first",
        "evidence": ["client+file", "server"],
        "response_ms": 2.0,
        "write_ms": 502.0,
        "lead_ms": 500.0,
    }
    assert request["tasks"][0] == {
        "task": "app.write_log",
        "state": "finished",
        "started_ms": 3.0,
        "finished_ms": 500.0,
        "where": "thread",
        "error": None,
        "traceback": None,
        "reason": None,
        "detail": None,
        "waited_ms": None,
        "blocked_ms": 0.0,
    }
    assert request["writes"] == [{"file": "log.txt", "text": "message\n", "change": None, "seen_ms": 502.0}]
    assert written["summary"] == {
        "requests": 2, "response_first": 1, "overlapping": 0, "work_first": 1, "no_work": 0, "failed": 0, "dropped": 0,
        "lost": 0, "unproven": 0, "unmet": 0, "seconds": 0.0,
        "response_ms": {"min": 2.0, "p50": 2.0, "p95": 501.0, "p99": 501.0, "max": 501.0},
        "write_ms": {"min": 499.0, "p50": 499.0, "p95": 502.0, "p99": 502.0, "max": 502.0},
        "lead_ms": {"min": -2.0, "p50": -2.0, "p95": 500.0, "p99": 500.0, "max": 500.0},
    }  # fmt: skip


def test_body_of_the_document_is_the_json_value_or_the_text() -> None:
    made = background()
    assert document(runs(made))["requests"][0]["body"] == ""
    made.body = ReceivedBody("null", None)
    assert document(runs(made))["requests"][0]["body"] is None
    made.body = ReceivedBody('{"a":1}', {"a": 1})
    assert document(runs(made))["requests"][0]["body"] == {"a": 1}


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.95, 1)] == [1.0, 50.0, 95.0, 100.0]
    assert percentile([], 0.5) is None


def test_svg_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    save_picture(runs(), tmp_path / "demo.svg")
    content = (tmp_path / "demo.svg").read_text("utf-8")
    assert ET.fromstring(content).tag.endswith("svg")
    assert "response-first" in content
    assert re.findall(r"https?://[^\s\"')]+", content) == ["http://www.w3.org/2000/svg", "https://www.textualize.io"]
    assert 'url("http' not in content


def test_heading_is_a_command_that_a_shell_understands() -> None:
    command = "fastbg demo 'sigkill:remedy, after the restart'  "
    assert shown(final(run(name="sigkill:remedy, after the restart"), encoding="utf-8")).startswith(command)


def test_list_has_all_writes_in_the_order_of_their_time() -> None:
    first, second = RequestResult.of(background()), RequestResult.of(foreground())
    seen = (OtherWrite(LOG, "whose?", 1_400_000_000), OtherWrite(LOG, "debug", 1_450_000_000, first))
    result = run(requests=(first, second), others=seen, begin_ns=10**9)
    lines = [" ".join(line.split()) for line in shown(written(result)).splitlines()]
    assert lines == [
        "400 ms ? /data/log.txt whose?".replace("/data/", ""),
        "450 ms notification log.txt debug",
        "499 ms control log.txt message",
        "502 ms notification log.txt message",
    ]


def test_parts_are_named_in_tables_remarks_and_waiting() -> None:
    made = requested(background(), part="trap")
    text = shown(final(run(expecting(made, verdict="work-first")), encoding="utf-8"), width=100)
    assert "trap: notification: not as expected" in text
    assert len(re.findall("^trap *$", text, re.MULTILINE)) == 2  # in the table and above the bars
    waits = requested(in_milliseconds(trace()), part="trap")
    waits.answered = False
    sentence = waiting(run(waits), now_ns=3 * 10**9).plain
    assert sentence == "waiting for the response of trap: notification (2.0 s since it was sent)"
    assert waiting(run(), now_ns=3 * 10**9).plain == ""


def test_expected_bad_end_cannot_be_read_as_good() -> None:
    made = in_milliseconds(finished(task(answered(trace(writes=0), 1002, size=100), 1003, "task_failed", error="E")))
    text = shown(final(run(expecting(made, verdict="failed")), encoding="utf-8"))
    assert "failed (expected)" in text
    assert "✓" not in text


def test_files_outside_of_the_data_folder_are_named_as_such() -> None:
    outside = run(files=(Path("/shop/shop.log"), Path("/data/log.txt")), folder=Path("/shop"))
    assert "Evidence in /data: log.txt, journal.jsonl; /shop/shop.log" in shown(final(outside, encoding="utf-8"))
    nothing = run(in_milliseconds(finished(answered(trace(writes=0), 1002, size=1))), files=())
    assert "no file is followed" in shown(final(nothing, encoding="utf-8"))


def test_moral_that_cannot_be_told_says_so() -> None:
    assert "The moral of the script is not shown" in shown(final(run(moral="${lost | response}"), encoding="utf-8"))
    assert "The moral" not in shown(final(run(), encoding="utf-8"))


def test_interrupted_script_is_no_failure() -> None:
    stopped = run(stopped="interrupted", interrupted=130, name="second")
    text = shown(overview([run(), stopped], encoding="utf-8", more=3))
    assert "Interrupted in second: 3 more scripts did not run." in text
    assert "Not as expected" not in text
    nothing = run(requests=(), groups=(), stopped="interrupted", interrupted=130)
    assert shown(final(nothing, encoding="utf-8")).splitlines()[1:] == ["Interrupted before the first request."]
