"""The lines below an unmet expectation: the body, similar routes, exceptions."""

from pathlib import Path

import pytest

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import ReceivedBody, Trace
from fastbg.report.console import final
from fastbg.report.junit import junit
from fastbg.report.reasons import MAX_BODY, reasons_of, traceback_lines
from fastbg.report.summary import markdown
from tests.report.test_console import shown
from tests.support.results import in_milliseconds, run
from tests.support.traces import event, requested, task, trace

ERROR = "ValueError: no\n  … 2 frames of starlette …\n  /app.py:9 in f\n      g()"
LINES = ["ValueError: no", "  … 2 frames of starlette …", "  /app.py:9 in f", "      g()"]


def answered(status: int, body: str = "", traceback: str | None = None, **headers: str) -> Trace:
    made = requested(trace(writes=0), url="http://127.0.0.1/orders?q=1")
    made.events.append(event(1001, "client", "response_headers", status=status, **headers))
    made.events.append(event(1002, "server", "request_finished", traceback=traceback))
    made.body = ReceivedBody(body)
    return made


def reasons(made: Trace) -> list[str]:
    return reasons_of(RequestResult.of(made))


def test_unexpected_status_shows_body_and_exception() -> None:
    assert reasons(answered(500, " Internal Server Error\n", ERROR)) == ["body: Internal Server Error", *LINES]
    assert reasons(answered(500)) == []


def test_body_is_one_line_of_limited_length() -> None:
    assert reasons(answered(400, "a\nb\x1b")) == [r"body: a\nb\x1b"]
    assert reasons(answered(400, "x" * MAX_BODY)) == [f"body: {'x' * MAX_BODY}"]
    assert reasons(answered(400, "x" * (MAX_BODY + 1))) == [f"body: {'x' * MAX_BODY}…"]


def test_expected_status_shows_no_body() -> None:
    assert reasons(answered(200, "{}")) == []


def test_missing_route_shows_those_that_are_near() -> None:
    made = answered(404, '{"detail":"Not Found"}')
    made.similar_routes = ("POST /orders/{id}", "GET /order")
    assert reasons(made)[1:] == ["routes that are near: POST /orders/{id}, GET /order"]
    assert reasons(answered(405, allow="POST, PUT")) == ["/orders allows POST, PUT"]


def test_failed_task_shows_its_exception_once() -> None:
    made = task(answered(200, traceback=ERROR), 1003, "task_failed", error="ValueError: no", traceback=ERROR)
    assert reasons(made) == ["app.write_log: ValueError: no", *LINES[1:]]


def test_expected_failure_shows_no_exception() -> None:
    made = task(trace(writes=0, verdict="failed"), 1003, "task_failed", error="ValueError: no", traceback=ERROR)
    assert reasons(made) == []


def test_paths_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert traceback_lines(f"E\n  {tmp_path}/sub/app.py:1 in f\n  {tmp_path}2/app.py:1 in f") == [
        "E",
        "  sub/app.py:1 in f",
        f"  {tmp_path}2/app.py:1 in f",
    ]


def test_reason_is_below_the_first_expectation() -> None:
    made = in_milliseconds(answered(500, "x", ERROR))
    text = shown(final(run(made), encoding="utf-8"))
    assert (
        "  status: expected 200, was 500 (client)\n    body: x\n    ValueError: no\n      … 2 frames of starlette …\n"
        "      /app.py:9 in f\n          g()\n  verdict: "
    ) in text
    assert text.count("ValueError: no") == 1


def test_long_line_keeps_its_indent() -> None:
    text = shown(final(run(in_milliseconds(answered(500, "word " * 30))), encoding="utf-8"), width=60)
    assert "\n    body: word" in text
    assert "\n    word word" in text


def test_junit_has_the_reason_and_the_summary_has_not() -> None:
    made = run(in_milliseconds(answered(500, "x", ERROR)))
    assert "body: x\nValueError: no\n  … 2 frames of starlette …\n  /app.py:9 in f\n      g()\n" in junit([made])
    assert "ValueError" not in markdown(made)
