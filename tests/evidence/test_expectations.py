"""Unmet expectations and their messages."""

from fastbg.evidence.expectations import contains, unmet
from fastbg.evidence.trace import Expected, ExpectedTask, ReceivedBody
from fastbg.evidence.verdict import judge
from tests.support.traces import TEXT, answered, event, expecting, finished, requested, sent, task, trace, wrote


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


def test_body_may_have_the_id_as_a_uuid() -> None:
    body = {"id": "order a1b2c302-0000-4000-8000-000000000007", "n": 1}
    assert contains(body, {"id": "order a1b2c3-07"})
    assert contains(body, {"id": body["id"]})
    assert not contains(body, {"id": "order a1b2c3-7"})
