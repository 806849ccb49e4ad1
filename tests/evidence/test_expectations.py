"""Unmet expectations and their messages."""

from typing import Any

import pytest

from fastbg.evidence.expectations import MAX_BODY_CHARACTERS, contains, is_called, unmet
from fastbg.evidence.trace import Expected, ExpectedTask, ReceivedBody, Trace
from fastbg.evidence.verdict import judge
from tests.support.traces import TEXT, answered, event, expecting, finished, requested, sent, task, trace, wrote


def told(seen: Trace) -> list[str]:
    return [str(each) for each in unmet(seen, judge(seen))]


def without_work(**changes: Any) -> Trace:
    """Return a finished request that queued nothing. ``changes``: other expectations than ``no-work``."""
    return expecting(finished(answered(trace(writes=0), 2000, size=100)), **{"verdict": "no-work", **changes})


def test_unmet_expectations_show_both_values() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950), 3000, offset=100)
    seen.body = ReceivedBody('{"message": "no"}', {"message": "no"})
    expecting(seen, verdict="work-first", body={"message": "yes"}, tasks=(ExpectedTask("other"),))
    assert [str(each) for each in unmet(seen, judge(seen))] == [
        "body: expected {'message': 'yes'}, was '{\"message\": \"no\"}'",
        "verdict: expected work-first, was response-first",
        "tasks: expected other, were app.write_log",
    ]
    seen.expected = Expected(statuses=(201, 202), tasks=(ExpectedTask("write_log"),), writes=seen.expected.writes)
    assert [str(each) for each in unmet(seen, judge(seen))] == ["status: expected 201 or 202, was 200"]


def test_unmet_expectation_has_its_key_and_witness() -> None:
    seen = wrote(task(sent(answered(trace(), 2_001_000, size=100), 1900, size=100), 2_002_000), 3_001_000, offset=100)
    expecting(
        seen,
        tasks=(ExpectedTask("write_log", state="failed", where="loop", within_ms=1),),
        response_within_ms=1,
        response_at_least_ms=3,
        lead_at_least_ms=2,
    )
    seen.expected.writes[0].within_ms = 2
    assert [(".".join(map(str, each.key)), each.witness) for each in unmet(seen, judge(seen))] == [
        ("expect.response_within", "client"),
        ("expect.response_at_least", "client"),
        ("expect.lead_at_least", "client and file"),
        ("expect.tasks.0.state", "server"),
        ("expect.tasks.0.where", "server"),
        ("expect.tasks.0.within", "server"),
        ("expect.writes.0.within", "file"),
    ]


def test_tasks_are_expected_in_the_order_in_which_they_start() -> None:
    seen = sent(answered(trace(writes=0), 2000, size=100), 1900, size=100)
    for n, (name, started_ns) in enumerate((("app.second", 2200), ("app.first", 2000), ("app.never", None))):
        seen.events.append(event(1000 + n, "server", "task_queued", task=name, n=n))
        if started_ns:
            seen.events.append(event(started_ns, "server", "task_started", task=name, n=n, where="loop"))
    expecting(seen, verdict="lost", tasks=tuple(map(ExpectedTask, ("first", "second", "never"))))
    assert unmet(seen, judge(seen)) == []


def test_too_many_and_too_few_writes_are_reported() -> None:
    seen = finished(sent(answered(trace(writes=2), 2000, size=100), 1900, size=100))
    seen = task(wrote(wrote(seen, 3000, offset=100), 3001, offset=108), 1950)
    seen.expected.writes[0].complete = seen.expected.writes[1].complete = True
    judgement = judge(seen)
    assert judgement.reason == f"log.txt never got {TEXT!r}"
    assert [str(each) for each in unmet(seen, judgement)] == [
        "verdict: expected response-first, was lost",
        f"writes[1].count: expected {TEXT!r} in log.txt, found 2 times",
    ]


def test_unknown_absence_of_a_write_is_unmet() -> None:
    seen = finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950))
    (write,) = seen.expected.writes
    write.count, write.size = 0, 200
    assert not seen.settled
    (unknown,) = unmet(seen, judge(seen))
    assert str(unknown) == f"writes[1].count: expected no {TEXT!r} in log.txt, unknown"
    write.complete = True
    assert seen.settled
    assert unmet(seen, judge(seen)) == []


def test_any_verdict_is_accepted_unless_work_is_broken() -> None:
    for end, accepted in ((None, True), ("task_finished", True), ("task_failed", False)):
        seen = finished(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100))
        seen = task(seen, 1950, end, error="OSError: no") if end else seen
        expecting(seen, verdict="any", statuses=())
        assert [str(each) for each in unmet(seen, judge(seen))] == (
            [] if accepted else ["verdict: expected any, was failed"]
        )


def test_any_status_needs_a_response() -> None:
    seen = trace(writes=0)
    seen.events.append(event(2000, "client", "request_failed", error="ConnectError"))
    expecting(seen, verdict="any", statuses=())
    assert [str(each) for each in unmet(seen, judge(seen))] == ["status: expected any, got no response"]


def test_tasks_continue_after_the_client_hangs_up() -> None:
    seen = requested(trace(writes=0), hangs_up=True)
    seen.events.append(event(2000, "client", "request_failed", error="the client disconnected after 0.1 s"))
    assert not seen.settled
    seen = finished(task(seen, 3000))
    assert seen.settled
    assert (judge(seen).verdict, unmet(seen, judge(seen))[0].key) == ("unproven", ("expect", "verdict"))


def test_write_is_awaited_after_the_client_hangs_up() -> None:
    seen = requested(finished(task(trace(), 3000)), hangs_up=True)
    seen.events.append(event(2000, "client", "request_failed", error="the client disconnected after 0.1 s"))
    seen.expected.writes[0].size = 200  # the server saw it in the file, the follower has not read it yet
    assert not seen.settled
    wrote(seen, 9500, offset=100)
    seen.expected.writes[0].complete = True
    assert seen.settled
    assert judge(seen).verdict == "unproven"


def test_missing_write_is_due_after_its_tasks_and_its_limit() -> None:
    seen = answered(trace(), 2000, size=100)
    seen.expected.writes[0].within_ms = 0.5
    assert seen.due_ns is None  # the server may still work on the request
    seen = finished(task(seen, 3000, end=None))
    assert seen.due_ns is None  # a task runs
    seen.events.append(event(9500, "server", "task_finished", task="app.write_log", n=0))
    assert seen.due_ns == 1000 + 500_000
    seen.expected.writes[0].within_ms = None
    assert seen.due_ns is None


def test_body_part_may_leave_out_keys_but_not_change_values() -> None:
    assert contains({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1}})
    assert not contains({"a": {"b": 1}}, {"a": {"b": 2}})
    assert not contains(None, {"a": 1})
    assert contains([1, 2], [1, 2])


def test_default_expectation_is_at_the_line_of_its_request() -> None:
    lines = {(): 9, ("name",): 10, ("expect",): 12, ("expect", "verdict"): 12}
    seen = requested(expecting(trace(writes=0), verdict="no-work"), script="my.toml", lines=lines)
    status, verdict = unmet(seen, judge(seen))
    assert (status.place(seen.request), verdict.place(seen.request)) == ("my.toml:9", "my.toml:12")
    assert status.place(requested(seen, script=None).request) is None
    seen = requested(
        without_work(tasks=(ExpectedTask("mail"),)), script="my.toml", lines={(): 9, ("expect", "tasks"): 14}
    )
    seen.events.append(event(1100, "server", "task_queued", task="app.mail", n=0))
    expecting(seen, verdict="lost", tasks=(ExpectedTask("mail", state="finished"),))
    (state,) = unmet(seen, judge(seen))
    assert (state.key, state.place(seen.request)) == (("expect", "tasks", 0, "state"), "my.toml:14")


def test_unmet_expectation_names_the_witness_of_its_value() -> None:
    seen = without_work(verdict="response-first", statuses=(201,), tasks=(ExpectedTask("mail"),))
    seen.unsaved = {"id": "body.id"}
    assert [(each.key, each.witness) for each in unmet(seen, judge(seen))] == [
        (("expect", "status"), "client"),
        (("save", "id"), "client"),
        (("expect", "verdict"), "server"),
        (("expect", "tasks"), "server"),
    ]
    assert told(seen)[1] == "save.id: expected body.id, was not in the response"
    seen = expecting(answered(trace(), 2000, size=100), body="yes")
    seen.expected.writes[0].count = 0
    assert [(each.key, each.witness) for each in unmet(seen, judge(seen))] == [
        (("expect", "body"), "client"),
        (("expect", "verdict"), "no witness"),
        (("expect", "writes", 0, "count"), "no witness"),
    ]
    seen = wrote(wrote(answered(trace(), 2000, size=100), 3000, offset=100), 3001, offset=108)
    task(sent(seen, 1900, size=100), 1950)
    expecting(seen, verdict="no-work")
    assert [each.witness for each in unmet(seen, judge(seen))] == ["client+file and server", "file"]


def limited(response_ms: float, lead_ms: float, task_ms: float, write_ms: float) -> Trace:
    """Return a request with these limits: its response takes 2 ms, and its task writes and ends after 3 ms."""
    seen = sent(answered(trace(), 2_001_000, size=100), 2_000_000, size=100)
    seen = wrote(task(seen, 2_002_000, took_ns=999_000), 3_001_000, offset=100)
    seen.expected.writes[0].within_ms = write_ms
    return expecting(
        seen,
        response_within_ms=response_ms,
        response_at_least_ms=response_ms,
        lead_at_least_ms=lead_ms,
        tasks=(ExpectedTask("write_log", within_ms=task_ms),),
    )


def test_limit_is_met_up_to_its_exact_value() -> None:
    assert told(limited(2, 1, 3, 3)) == []


def test_missed_limit_shows_the_time_that_it_took() -> None:
    assert told(limited(1, 1.5, 2, 2.5)) == [
        "response_within: expected at most 0.001 s, was 0.002 s",
        "lead_at_least: expected at least 0.0015 s, was 0.001 s",
        "tasks[1].within: expected at most 0.002 s, was 0.003 s",
        "writes[1].within: expected at most 0.0025 s, was 0.003 s",
    ]
    assert told(limited(3, 1, 3, 3)) == ["response_at_least: expected at least 0.003 s, was 0.002 s"]


def test_limit_of_what_did_not_happen_is_missed() -> None:
    seen = limited(2, 1, 3, 3)
    seen.events = [each for each in seen.events if each.name not in ("response_complete", "task_finished")]
    assert told(expecting(seen, verdict="lost")) == [
        "response_within: expected at most 0.002 s, did not happen",
        "response_at_least: expected at least 0.002 s, did not happen",
        "lead_at_least: expected at least 0.001 s, did not happen",
        "tasks[1].within: expected at most 0.003 s, did not happen",
    ]
    seen = without_work(lead_at_least_ms=1)
    assert told(seen) == ["lead_at_least: expected at least 0.001 s, did not happen"]


def test_body_is_compared_as_text_or_as_json() -> None:
    seen = without_work()
    seen.body = ReceivedBody('{"a": 1}', {"a": 1}, 8)
    assert told(seen) == told(expecting(seen, body='{"a": 1}')) == told(expecting(seen, body={"a": 1})) == []
    assert told(expecting(seen, body="a")) == ["body: expected 'a', was '{\"a\": 1}'"]
    assert told(expecting(seen, body={"a": 2})) == ["body: expected {'a': 2}, was '{\"a\": 1}'"]


@pytest.mark.parametrize(
    ("text", "cut", "shown"),
    [
        ("x" * MAX_BODY_CHARACTERS, False, "was '" + "x" * MAX_BODY_CHARACTERS + "'"),
        ("x" * MAX_BODY_CHARACTERS + "y", False, "was '" + "x" * MAX_BODY_CHARACTERS + "'…"),
        ("x", True, "was 'x' (received 1 bytes, kept only the first part)"),
    ],
)
def test_long_body_is_shown_in_part(text: str, cut: bool, shown: str) -> None:
    seen = without_work(body="z")
    seen.body = ReceivedBody(text, None, len(text), cut)
    assert told(seen) == [f"body: expected 'z', {shown}"]


def test_incomplete_body_and_redirect_are_named() -> None:
    seen = without_work(verdict="any", body="z")
    seen.events = [each for each in seen.events if each.name != "response_complete"]
    assert told(seen) == ["body: expected 'z', the body was incomplete"]
    seen = trace(writes=0)
    seen.events.append(event(1500, "client", "response_headers", status=307, location="/b"))
    assert told(expecting(seen, verdict="any")) == [
        'status: expected 200, was 307, a redirect to "/b" (redirects are not followed)'
    ]


@pytest.mark.parametrize("state", ["failed", "dropped"])
def test_task_in_another_state_or_place_is_named(state: str) -> None:
    seen = task(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100), 1950)
    expecting(seen, tasks=(ExpectedTask("write_log", state="dropped", where="loop"),))
    assert told(seen) == [
        "tasks[1].state: expected write_log dropped, was finished",
        "tasks[1].where: expected write_log in loop, was in thread",
    ]
    why = "OSError: no" if state == "failed" else "exception"
    seen = answered(trace(writes=0), 2000, size=100)
    task(seen, None, f"task_{state}", error=why if state == "failed" else None, reason=why)
    expecting(seen, verdict=state, tasks=(ExpectedTask("write_log", state="finished", where="loop"),))
    assert told(seen) == [
        f"tasks[1].state: expected write_log finished, was {state} ({why})",
        "tasks[1].where: expected write_log in loop, did not start",
    ]


def test_other_tasks_than_expected_are_named() -> None:
    two = (ExpectedTask("a"), ExpectedTask("b"))
    assert told(without_work(tasks=two)) == ["tasks: expected a, b, were none"]
    seen = without_work(verdict="any", tasks=())
    seen = task(task(seen, 9100), 9200, n=1)
    assert told(seen)[0] == "tasks: expected none, were app.write_log, app.write_log"


def test_tasks_are_unknown_where_events_may_be_missing() -> None:
    seen = without_work(verdict="any", tasks=(ExpectedTask("a"), ExpectedTask("b")))
    seen.witnesses.gap = "the journal was deleted"
    (unknown,) = unmet(seen, judge(seen))
    assert str(unknown) == "tasks: expected a, b, unknown: the journal was deleted"
    assert (unknown.key, unknown.witness) == (("expect", "tasks"), "no witness")
    assert told(expecting(seen, tasks=()))[0].startswith("tasks: expected none, unknown")


@pytest.mark.parametrize("end", ["task_failed", "task_dropped"])
def test_missing_write_is_told_unless_a_broken_task_explains_it(end: str) -> None:
    """If the script expects that the task breaks, a missing write is unmet of its own."""
    verdict = end.removeprefix("task_")
    seen = task(answered(trace(), 2000, size=100), 1950 if verdict == "failed" else None, end)
    assert told(seen) == [f"verdict: expected response-first, was {verdict}"]
    missing = f"writes[1].count: expected {TEXT!r} in log.txt, found 0 times"
    assert told(expecting(seen, verdict=verdict)) == [missing]


def test_missing_write_is_told_beside_another_verdict() -> None:
    seen = trace(has_id=False, journal=False)
    seen.expected.writes[0].count = 2
    wrote(answered(seen, 2000, size=100), 3000, offset=100)
    assert told(seen) == [
        "verdict: expected response-first, was unproven",
        f"writes[1].count: expected {TEXT!r} in log.txt 2 times, found 1 time",
    ]


@pytest.mark.parametrize(("end", "verdict"), [("task_dropped", "dropped"), (None, "lost")])
def test_broken_work_is_never_any_verdict(end: str | None, verdict: str) -> None:
    seen = expecting(task(answered(trace(writes=0), 2000, size=100), None, end), verdict="any")
    assert told(seen) == [f"verdict: expected any, was {verdict}"]


def test_task_is_called_by_the_end_of_its_name() -> None:
    assert is_called("mail", "mail")
    assert is_called("app.mail", "mail")
    assert not is_called("app.email", "mail")


def test_body_may_have_the_id_as_a_uuid() -> None:
    body = {"id": "order a1b2c302-0000-4000-8000-000000000007", "n": 1}
    assert contains(body, {"id": "order a1b2c3-07"})
    assert contains(body, {"id": body["id"]})
    assert not contains(body, {"id": "order a1b2c3-7"})
