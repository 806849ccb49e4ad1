"""Verdicts: every rule, and the cases without a proof."""

from dataclasses import replace

import pytest

from fastbg.evidence.expectations import unmet
from fastbg.evidence.tasks import tasks_of
from fastbg.evidence.trace import Trace, Write
from fastbg.evidence.verdict import SentResponse, ServerRecord, is_perhaps_rewritten, judge, judge_recorded
from tests.support.traces import (
    LOG,
    TEXT,
    answered,
    event,
    expecting,
    finished,
    requested,
    sent,
    task,
    trace,
    why,
    wrote,
)


def test_later_write_is_proved_by_client_and_server() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950), 3000, offset=100)
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence, judgement.reason) == (
        "response-first",
        ("client+file", "server"),
        None,
    )


def test_instant_write_rests_on_the_servers_order_alone() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=108), 1900, size=100), 1905), 1990, offset=100)
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("server",))
    assert why(judgement) == (
        "when the client had the response, the write was already in the file; the server's events prove the order"
    )


def test_instant_write_without_a_journal_is_unproven() -> None:
    judgement = judge(wrote(answered(trace(journal=False), 2000, size=108), 1990, offset=100))
    assert (judgement.verdict, judgement.evidence) == ("unproven", ())
    assert why(judgement) == (
        "no proof from client and file: when the client had the response, the write was already in the file; "
        "no proof from the server: its journal is not available"
    )


def test_late_write_without_a_journal_is_proved_from_outside() -> None:
    judgement = judge(wrote(answered(trace(journal=False), 2000, size=100), 9000, offset=100))
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("client+file",))


def test_clocks_alone_prove_nothing() -> None:
    """The follower saw the write long after the response, but the file had it when the client checked its size."""
    judgement = judge(wrote(answered(trace(journal=False), 2000, size=108), 9_000_000, offset=100))
    assert judgement.verdict == "unproven"


def test_write_below_the_size_at_the_response_is_work_first() -> None:
    judgement = judge(wrote(finished(sent(answered(trace(), 2000, size=108), 1900, size=108)), 1800, offset=100))
    assert (judgement.verdict, judgement.evidence) == ("work-first", ("file+server",))


def test_half_of_the_work_before_the_response_is_work_first() -> None:
    seen = sent(answered(trace(writes=2), 2000, size=108), 1900, size=108)
    seen = wrote(wrote(task(seen, 1950), 1800, offset=100), 3000, offset=108, n=1)
    judgement = judge(seen)
    assert judgement.verdict == "work-first"
    assert judgement.reason == "1 of its 2 writes was already in the file when the response was sent"


def test_task_finished_before_the_response_is_work_first() -> None:
    seen = task(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100), 1300)
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("work-first", ("server",))


def test_task_that_ended_during_the_send_proves_no_order() -> None:
    """The server's time of the response is the end of sending. The client may have received it long before."""
    seen = task(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100, took_ns=600), 1300)
    judgement = judge(finished(seen))
    assert judgement.verdict == "unproven"
    assert why(judgement).endswith("a task started or ended in the moment in which the server sent the response")


def test_server_proves_work_first_where_the_file_does_not() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=108), 1900, size=100), 1300), 1990, offset=100)
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("work-first", ("server",))


def test_write_during_the_send_proves_no_order() -> None:
    """Another thread of the app may have written it."""
    seen = wrote(task(sent(answered(trace(), 2000, size=108), 1900, size=100, after=108), 1950), 1990, offset=100)
    judgement = judge(seen)
    assert judgement.verdict == "unproven"
    assert "a write was made while the server sent the response" in why(judgement)


def test_writes_of_others_during_the_send_change_nothing() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=116), 1900, size=100, after=108), 1950), 1990, offset=108)
    assert judge(seen).evidence == ("server",)


def test_contradictory_evidence_proves_nothing() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=100), 1900, size=108), 1950), 3000, offset=100)
    judgement = judge(seen)
    assert judgement.verdict == "unproven"
    assert why(judgement) == (
        "contradictory evidence: its write was already in the file when the response was sent, but the client had the "
        "response before the write"
    )


@pytest.mark.parametrize(
    ("buffered", "reason"),
    [
        (1, "the server still held 1 bytes of the response in its buffer"),
        (None, "whether the whole response had left the server is unknown: the server's write buffer could not be"),
    ],
)
def test_buffered_response_is_not_called_sent(buffered: int | None, reason: str) -> None:
    seen = sent(answered(trace(), 2000, size=108), 1900, size=100, buffered=buffered)
    judgement = judge(wrote(task(seen, 1905), 1990, offset=100))
    assert judgement.verdict == "unproven"
    assert reason in why(judgement)


@pytest.mark.parametrize(("started_ns", "took_ns"), [(1850, 60), (1850, 50), (1895, 100), (1895, 3)])
def test_task_that_starts_or_ends_during_the_send_proves_nothing(started_ns: int, took_ns: int) -> None:
    seen = sent(answered(trace(), 2000, size=108), 1900, size=100, took_ns=20)
    judgement = judge(wrote(task(seen, started_ns, took_ns=took_ns), 1990, offset=100))
    assert (judgement.verdict, judgement.evidence) == (
        ("overlapping", ("server",)) if started_ns + took_ns == 1910 else ("unproven", ())
    )


@pytest.mark.parametrize(("size", "verdict"), [(100, "response-first"), (108, "unproven")])
def test_file_is_looked_at_when_a_held_response_has_left(size: int, verdict: str) -> None:
    seen = sent(answered(trace(), 2000, size=108), 1900, size=100, buffered=5)
    seen.events.append(event(1950, "server", "response_held", buffered=0, files={LOG: size}))
    assert judge(wrote(task(seen, 1960), 1990, offset=100)).verdict == verdict


def overlapping(*, buffered: int | None = 0) -> Trace:
    seen = sent(answered(trace(writes=0), 2_000_000, size=100), 1_900_000, size=100, buffered=buffered)
    return task(seen, 600_000, took_ns=153_100_000)


def test_task_that_runs_during_the_response_is_overlapping() -> None:
    judgement = judge(finished(overlapping()))
    assert (judgement.verdict, judgement.evidence) == ("overlapping", ("server",))
    assert judgement.reason == (
        "app.write_log had started when the response was sent, and ended after it "
        "(started 1.3 ms before, ended 151.8 ms after)"
    )


def test_overlapping_is_the_verdict_wherever_the_task_writes() -> None:
    """It may write at any time from its start to its end: the verdict must not depend on that."""
    for offset in (92, 100):
        seen = sent(answered(trace(), 2_000_000, size=100), 1_900_000, size=100)
        assert judge(wrote(task(seen, 600_000, took_ns=10**8), 9 * 10**7, offset=offset)).verdict == "overlapping"


@pytest.mark.parametrize(
    ("size", "buffered", "verdict"),
    [(100, 0, "response-first"), (101, 0, "unproven"), (100, 1, "unproven"), (100, None, "unproven")],
)
def test_write_without_a_task_may_be_after_the_servers_size(size: int, buffered: int | None, verdict: str) -> None:
    """For example by a middleware that goes on after the last byte; the client is too slow to prove it."""
    seen = sent(answered(trace(), 2000, size=108), 1900, size=100, after=size, buffered=buffered)
    judgement = judge(finished(wrote(seen, 1990, offset=100)))
    assert (judgement.verdict, judgement.evidence) == (verdict, ("file+server",) if buffered == 0 == size - 100 else ())
    by_size = "; the size of the file that the server read after the response proves the order"
    assert why(judgement).endswith(by_size) == (verdict == "response-first")


@pytest.mark.parametrize(
    ("detail", "all_files", "verdict"),
    [
        ({"files": {}}, True, "response-first"),
        ({"files": {}}, False, "unproven"),  # the server may follow other files
        ({"files": {}, "files_after": {LOG: 8}}, True, "unproven"),
        ({}, True, "unproven"),
    ],
)
def test_write_to_a_file_that_did_not_exist_was_made_later(
    detail: dict[str, object], all_files: bool, verdict: str
) -> None:
    seen = answered(trace(), 2000, size=8)
    seen.events.append(event(1900, "server", "response_sent", status=200, sending_ns=1890, buffered=0, **detail))
    seen.witnesses.all_files = all_files
    assert judge(finished(wrote(seen, 1990, offset=0))).verdict == verdict


@pytest.mark.parametrize("buffered", [1, None])
def test_overlapping_needs_the_end_of_the_response(buffered: int | None) -> None:
    assert judge(finished(overlapping(buffered=buffered))).verdict == "unproven"


def test_task_of_a_worker_runs_beside_the_response() -> None:
    seen = sent(answered(trace(), 2000, size=100), 1900, size=100)
    seen = wrote(task(seen, 1850, took_ns=900, where="worker"), 3000, offset=100)
    assert judge(seen).verdict == "response-first"
    assert judge(seen).evidence == ("client+file",)


def test_task_that_ended_before_makes_the_request_work_first() -> None:
    assert judge(finished(task(overlapping(), 1100, n=1))).verdict == "work-first"


def test_overlapping_needs_a_journal_without_gaps() -> None:
    seen = finished(overlapping())
    seen.witnesses.gap = "lines are missing"
    assert judge(seen).verdict == "unproven"


def test_cause_of_an_early_start_is_named() -> None:
    seen = sent(answered(trace(writes=0), 2_000_000, size=100), 1_900_000, size=100)
    seen = task(seen, 600_000, took_ns=153_100_000, detail="behind a middleware")
    assert why(judge(finished(seen))).endswith("ended 151.8 ms after): behind a middleware")


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        (None, "the client disconnected before the response was sent"),
        ("the app did not complete the response", "the app did not complete the response"),
    ],
)
def test_response_that_was_not_sent_says_why(detail: str | None, reason: str) -> None:
    seen = answered(trace(writes=0), 2000, size=100)
    seen.events.append(event(1900, "server", "response_lost", status=200, **({"detail": detail} if detail else {})))
    judgement = judge(finished(task(seen, 1950)))
    assert judgement.verdict == "unproven"
    assert reason in why(judgement)


def test_text_that_may_be_another_requests_proves_no_order() -> None:
    seen = sent(answered(trace(has_id=False), 2000, size=108), 1900, size=108)
    seen = task(seen, 1950)
    seen.expected.writes[0].writes.append(Write(LOG, TEXT, 1800, 100, len(TEXT), others=((108, 116),)))
    judgement = judge(finished(seen))
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("server",))
    assert why(judgement).startswith("another request may have written the same text at the same time; ")
    seen.expected.writes[0].writes = [Write(LOG, TEXT, 1800, 100, len(TEXT))]
    assert judge(seen).verdict == "work-first"


def test_only_open_tasks_of_a_broker_need_no_server() -> None:
    seen = finished(sent(answered(trace(), 2000, size=100), 1900, size=100))
    assert not seen.with_broker  # the missing text is a write of the server
    seen.events.append(event(1001, "server", "task_queued", task="app.write_log", n=0, where="worker"))
    assert seen.with_broker


def test_disturbed_file_proves_nothing() -> None:
    seen = wrote(answered(trace(journal=False), 2000, size=100), 9000, offset=100)
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert judge(seen).verdict == "unproven"


def test_rewritten_file_leaves_the_order_to_the_server() -> None:
    seen = wrote(finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950)), 3000, offset=0)
    seen.witnesses.disturbed[LOG] = "rewritten"
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("server",))
    assert why(judgement) == "log.txt was rewritten during the request; the server's events prove the order"


def test_overwritten_text_leaves_the_order_to_the_server() -> None:
    seen = finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950))
    seen.expected.writes[0].overwritten = True
    judgement = judge(seen)
    assert seen.settled
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("server",))
    assert why(judgement).startswith("another request may have overwritten log.txt before its text was seen; ")
    assert unmet(seen, judgement) == []


def test_overwritten_text_without_the_servers_order_is_unproven() -> None:
    seen = answered(trace(journal=False), 2000, size=100)
    seen.expected.writes[0].overwritten = True
    assert why(judge(seen)).startswith("no proof from client and file: another request may have overwritten log.txt")
    seen = finished(answered(trace(), 2000, size=100))  # without a task
    seen.expected.writes[0].overwritten = True
    assert judge(seen).verdict == "unproven"


def test_missing_text_with_a_doubt_is_not_lost() -> None:
    seen = finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950))
    seen.expected.writes[0].doubt = "log.txt was changed in place"
    assert not seen.settled  # it may still come
    judgement = judge(seen)
    assert (judgement.verdict, judgement.reason) == ("unproven", "log.txt was changed in place")
    assert [f"{each} ({each.witness})" for each in unmet(seen, judgement)][1:] == [
        f"writes[1].count: expected {TEXT!r} in log.txt, unknown (no witness)"
    ]
    seen.expected.writes[0].doubt, seen.witnesses.disturbed[LOG] = None, "replaced"
    assert judge(seen).reason == "log.txt was replaced during the request"


def test_text_that_must_not_come_is_unknown_in_a_rewritten_file() -> None:
    seen = finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950))
    seen.expected.writes[0].count, seen.expected.writes[0].complete = 0, True
    assert unmet(seen, judge(seen)) == []
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert [each.actual for each in unmet(seen, judge(seen))] == ["unknown"]


def test_place_that_another_request_may_fill_proves_nothing() -> None:
    """Opened with mode "w": the file had the text of another request when the response was sent."""
    seen = wrote(finished(task(sent(answered(trace(), 2000, size=108), 1900, size=108), 1950)), 2100, offset=100)
    assert judge(seen).verdict == "work-first"
    seen.expected.writes[0].shared = True
    assert judge(seen).verdict == "unproven"
    assert why(judge(seen)) == (
        "contradictory evidence: its write was already in the file when the response was sent, but its tasks started "
        "later; another request, which writes to the same file, may have been there first"
    )
    assert is_perhaps_rewritten(seen)
    early = wrote(finished(task(sent(answered(trace(), 2000, size=108), 1900, size=108), 1950)), 2100, offset=100)
    early.expected.writes[0].shared = True
    early.events = [each for each in early.events if each.name != "task_started"]
    assert not is_perhaps_rewritten(early)
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert (judge(seen).verdict, judge(seen).evidence) == ("response-first", ("server",))


def rewritten(seen_ns: int, *changed: str) -> Trace:
    """Return a request with a task, and a text in a rewritten file that was read at ``seen_ns``. Sending: 1850 ns."""
    response = sent(answered(trace(), 2000, size=100), 1900, size=100, took_ns=50, changed=changed)
    seen = wrote(finished(task(response, 1950)), seen_ns, offset=0)
    seen.witnesses.disturbed[LOG] = "rewritten"
    return seen


def test_text_read_before_the_send_was_written_before_it() -> None:
    judgement = judge(rewritten(1839))
    assert (judgement.verdict, judgement.evidence) == ("work-first", ("file+server",))
    assert judgement.reason == "its text was read in log.txt 0.0 ms before the response was sent"
    assert judge(rewritten(1840)).verdict == "response-first"
    another = rewritten(1839)  # the same text may also be another request's
    another.expected.writes[0].writes[0] = replace(another.writes[0], others=((50, 80),))
    assert judge(another).verdict == "response-first"
    unknown = rewritten(1839)
    unknown.expected.writes[0].writes[0] = Write(LOG, TEXT, 1839, 0, len(TEXT))  # when it had been read is not known
    assert judge(unknown).verdict == "response-first"
    changed = rewritten(1839)
    changed.expected.writes[0].writes[0] = replace(changed.writes[0], change="created", read_ns=0)
    assert "read in" not in (judge(changed).reason or "")


def test_text_read_before_the_send_decides_in_a_shared_place() -> None:
    seen = wrote(finished(task(sent(answered(trace(), 2000, size=108), 1900, size=108), 1950)), 1800, offset=100)
    seen.expected.writes[0].shared = True
    assert judge(seen).verdict == "work-first"


def test_file_that_changed_before_the_send_proves_nothing() -> None:
    assert judge(rewritten(3000, "/data/other.txt")).verdict == "response-first"
    seen = rewritten(3000, LOG)
    assert (judge(seen).verdict, judge(seen).evidence) == ("unproven", ())
    assert why(judge(seen)).startswith("contradictory evidence: log.txt had already been changed when the response was")
    seen.expected.writes[0].shared = True  # another request may have changed it
    assert judge(seen).verdict == "response-first"
    seen.expected.writes[0].shared = False
    seen.witnesses.disturbed.clear()  # the place of the text shows when it was written
    assert why(judge(seen)).startswith("its write was already in the file")


def test_failed_task_is_named_with_its_exception() -> None:
    seen = finished(
        task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950, "task_failed", error="OSError: x")
    )
    judgement = judge(seen)
    assert judgement.verdict == "failed"
    assert judgement.reason == "app.write_log failed: OSError: x"
    assert seen.settled


def test_dropped_task_is_named_with_the_reason() -> None:
    seen = task(answered(trace(), 2000, size=100), None, "task_dropped", reason="exception")
    judgement = judge(finished(seen))
    assert (judgement.verdict, judgement.reason) == ("dropped", "app.write_log dropped: exception")


def test_expected_write_that_did_not_come_is_lost() -> None:
    seen = finished(task(sent(answered(trace(), 2000, size=100), 1900, size=100), 1950))
    seen.ended = "not within 1 s"
    judgement = judge(seen)
    assert judgement.verdict == "lost"
    assert judgement.reason == f"log.txt never got {TEXT!r} (not within 1 s)"
    assert not seen.settled


def test_task_that_started_and_never_finished_is_lost() -> None:
    seen = task(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100), 1950, None)
    assert judge(seen).verdict == "lost"


def test_no_work_needs_the_servers_journal() -> None:
    assert judge(finished(answered(trace(writes=0), 2000, size=100))).verdict == "no-work"
    assert judge(answered(trace(writes=0, journal=False), 2000, size=100)).verdict == "unproven"


def test_no_work_names_the_exception_of_the_app() -> None:
    seen = answered(trace(writes=0), 2000, size=100)
    seen.events.append(event(9000, "server", "request_finished", error="KeyError: x"))
    judgement = judge(seen)
    assert (judgement.verdict, judgement.reason) == (
        "no-work",
        "no background task was queued; the app raised KeyError: x",
    )


def test_text_without_an_id_needs_the_servers_journal() -> None:
    seen = answered(trace(has_id=False, journal=False), 2000, size=100)
    assert seen.settled
    judgement = judge(seen)
    assert judgement.verdict == "unproven"
    assert why(judgement) == (
        "the expected text has no ${mark}, and there is no server journal that shows which request wrote it"
    )


def test_request_without_a_response_is_unproven() -> None:
    seen = trace(writes=0)
    seen.events.append(event(1500, "client", "request_failed", error="ConnectError: refused"))
    judgement = judge(seen)
    assert (judgement.verdict, judgement.reason) == ("unproven", "no response: ConnectError: refused")


def test_failure_in_the_body_waits_for_the_server() -> None:
    """The app may go on: the task and its write are not lost, only later than the failure."""
    seen = trace()
    seen.events.append(event(1400, "client", "response_headers", status=200))
    seen.events.append(event(1500, "client", "request_failed", error="DecodingError"))
    assert not seen.settled
    assert finished(wrote(task(seen, 2000), 2010, offset=100)).settled
    seen.witnesses.journal = False
    assert seen.settled


def test_request_that_was_never_sent_is_unproven() -> None:
    seen = trace()
    seen.events.clear()
    seen.ended = "not sent: the server ended"
    assert judge(seen).reason == "not sent: the server ended"
    assert judge(seen).verdict == "unproven"


def test_tasks_keep_their_numbers_times_and_places() -> None:
    seen = task(task(trace(), 2000), 2100, None, n=1)
    first, second = tasks_of(reversed(seen.events))
    assert (first.state, first.started_ns, first.ended_ns, first.where) == ("finished", 2000, 2010, "thread")
    assert (second.state, second.ended_ns) == ("started", None)


# "there was none" is claimed only where it would have been seen


def test_no_work_is_claimed_only_after_the_end_of_the_request() -> None:
    seen = answered(trace(writes=0), 2000, size=100)
    assert judge(seen).verdict == "unproven"
    assert why(judge(seen)) == "there is no request_finished event that shows whether a task was queued"
    assert judge(finished(seen)).verdict == "no-work"
    seen.witnesses.journal = False
    assert judge(seen).verdict == "unproven"
    assert why(judge(seen)) == "there is no server journal that shows whether a task was queued"


def test_no_work_is_not_claimed_where_events_may_be_missing() -> None:
    seen = finished(answered(trace(writes=0), 2000, size=100))
    seen.witnesses.gap = "a part of the journal was deleted"
    assert (judge(seen).verdict, judge(seen).reason) == ("unproven", "a part of the journal was deleted")
    seen.witnesses.gap = None
    expecting(seen, unseen="the folder is on another host")
    assert (judge(seen).verdict, judge(seen).reason) == ("unproven", "the folder is on another host")


def test_task_is_not_lost_where_events_may_be_missing() -> None:
    seen = task(sent(answered(trace(writes=0), 2000, size=100), 1900, size=100), 1950, None)
    assert (judge(seen).verdict, judge(seen).evidence) == ("lost", ("file", "server"))
    assert judge(seen).reason == "app.write_log started, never finished"
    seen.witnesses.gap = "a part of the journal was deleted"
    assert judge(seen).verdict == "unproven"
    assert why(judge(seen)).endswith("no proof from the server: a part of the journal was deleted")


def test_missing_text_is_lost_by_the_file_alone() -> None:
    seen = wrote(answered(trace(), 2000, size=100), 3000, offset=100)
    seen.expected.writes[0].count = 2
    seen.witnesses.gap = "deleted"
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("lost", ("file",))
    assert judgement.reason == f"log.txt got {TEXT!r} only 1 of 2 times"
    seen.witnesses.gap, seen.witnesses.journal = None, False
    assert judge(seen).evidence == ("file",)


def test_lost_work_names_what_ended_it() -> None:
    seen = task(answered(trace(), 2000, size=100), 1950, None)
    lost = f"app.write_log started, never finished; log.txt never got {TEXT!r}"
    assert judge(seen).reason == lost
    seen.ended = "not within 5 s"
    assert judge(seen).reason == f"{lost} (not within 5 s)"
    seen.events.append(event(2000, "client", "request_failed", error="ReadError"))
    assert judge(seen).reason == f"{lost} (ReadError)"
    seen.events.append(event(9000, "server", "request_finished", error="CancelledError"))
    assert judge(seen).reason == f"{lost} (CancelledError)"
    seen.ended, seen.server_gone = "the server was gone", True
    assert judge(seen).reason == f"{lost} (the server was gone)"


def test_text_that_cannot_be_known_says_why() -> None:
    seen = finished(answered(trace(writes=2), 2000, size=100))
    first, second = seen.expected.writes
    first.has_id = False
    wrote(seen, 3000, offset=100, n=1)
    seen.witnesses.gap = "a part of the journal was deleted"
    assert judge(seen).reason == "the expected text has no ${mark}, and a part of the journal was deleted"
    seen.witnesses.disturbed = {LOG: "rewritten", "/data/other.txt": "replaced"}
    second.writes.clear()
    assert judge(seen).reason == "log.txt was rewritten during the request"


# what broke


def test_all_broken_tasks_are_named_and_failed_ones_first() -> None:
    seen = answered(trace(writes=0), 2000, size=100)
    task(seen, None, "task_dropped")
    assert judge(seen).reason == "app.write_log dropped: no reason recorded"
    task(seen, None, "task_dropped", n=1, reason="exception")
    assert (judge(seen).verdict, judge(seen).evidence) == ("dropped", ("server",))
    assert judge(seen).reason == "app.write_log dropped: no reason recorded; app.write_log dropped: exception"
    task(seen, 1950, "task_failed", n=2, error="OSError: no", reason="other")
    assert (judge(seen).verdict, judge(seen).reason) == ("failed", "app.write_log failed: OSError: no")


def test_request_that_was_not_sent_names_the_error() -> None:
    seen = trace()
    seen.events = [event(1500, "client", "request_failed", error="InvalidURL")]
    assert judge(seen).reason == "not sent: InvalidURL"


# the order


def test_client_that_disconnected_gives_no_order() -> None:
    seen = task(trace(writes=0), 1950)
    assert why(judge(seen)).endswith("no proof from the server: the journal has no response_sent event")
    seen.events.append(event(1900, "server", "response_lost", status=200))
    assert judge(seen).verdict == "unproven"
    assert why(judge(seen)).endswith("no proof from the server: the client disconnected before the response was sent")


def test_task_in_a_worker_is_proved_by_the_shared_clock() -> None:
    seen = sent(answered(trace(writes=0), 2000, size=100), 1900, size=90)
    about = {"task": "app.write_log", "n": 0, "where": "worker", "server": "b1/7"}
    seen.events += [
        event(t, "server", f"task_{name}", **about, boot="b1") for t, name in ((1950, "started"), (1960, "finished"))
    ]
    judgement = judge(seen)
    assert (judgement.verdict, judgement.evidence) == ("response-first", ("server+worker",))
    assert judgement.reason is None
    wrote(expecting(seen, writes=trace().expected.writes), 1990, offset=92)
    assert why(judge(seen)).endswith("the clock that server and worker share proves the order")
    elsewhere = [
        event(t, "server", f"task_{name}", **about, boot="b2") for t, name in ((50, "started"), (60, "finished"))
    ]
    seen.events = [*seen.events[:-2], *elsewhere]
    assert judge(seen).verdict == "unproven"
    assert "a worker under another boot ran the task" in why(judge(seen))


@pytest.mark.parametrize(
    ("started_ns", "ended_ns", "verdict"),
    [(1700, 1799, "work-first"), (1700, 1800, "work-first"), (1700, 1801, "unproven"), (1900, 1950, "unproven"),
     (1901, 1950, "response-first")],
)  # fmt: skip
def test_order_is_proved_only_outside_of_the_send(started_ns: int, ended_ns: int, verdict: str) -> None:
    seen = sent(answered(trace(writes=0), 2000, size=100), 1900, size=100, took_ns=100)
    assert judge(task(seen, started_ns, took_ns=ended_ns - started_ns)).verdict == verdict


def test_tasks_and_writes_before_the_response_are_counted() -> None:
    seen = sent(answered(trace(writes=0), 2000, size=100), 1900, size=100)
    task(task(task(seen, 1100), 1200, n=1), 1950, n=2)
    assert judge(seen).reason == "app.write_log, app.write_log finished before the response was sent"
    seen = sent(answered(trace(writes=3), 2000, size=124), 1900, size=116)
    for n in range(3):
        wrote(seen, 1800, offset=100 + 8 * n, n=n)
    assert judge(seen).reason == "2 of its 3 writes were already in the file when the response was sent"


def test_write_without_a_proof_says_why_the_client_has_none() -> None:
    seen = trace(journal=False)
    wrote(seen, 3000, offset=100)
    assert "no proof from client and file: the client has no complete response;" in why(judge(seen))
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert "no proof from client and file: log.txt was rewritten during the request;" in why(judge(seen))
    seen = task(answered(trace(writes=0), 2000, size=100), 1950)
    assert why(judge(seen)).startswith("no proof from client and file: no write was seen (")


def test_one_of_two_early_writes_is_no_proof_for_the_client() -> None:
    seen = answered(trace(writes=2, journal=False), 2000, size=108)
    assert judge(wrote(wrote(seen, 1990, offset=100), 3000, offset=108, n=1)).verdict == "unproven"


def test_gap_and_disturbed_file_take_the_servers_proofs() -> None:
    seen = wrote(task(sent(answered(trace(), 2000, size=108), 1900, size=100), 1950), 1990, offset=100)
    assert judge(seen).evidence == ("server",)
    seen.witnesses.gap = "deleted"
    assert why(judge(seen)).endswith("no proof from the server: deleted")
    seen = wrote(sent(answered(trace(), 2000, size=108), 1900, size=108), 1990, offset=100)
    assert judge(seen).verdict == "work-first"
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert judge(seen).verdict == "unproven"


def test_failed_request_is_judged_by_its_work_first() -> None:
    seen = requested(finished(task(trace(writes=0), 1950, "task_failed")), hangs_up=True)
    seen.events.append(event(1500, "client", "request_failed", error="ReadError"))
    assert judge(seen).verdict == "failed"


# the server alone


def test_record_with_a_flaw_proves_nothing() -> None:
    record = ServerRecord(finished=True)
    assert judge_recorded(record, []).verdict == "no-work"
    record.flaw = "deleted"
    assert (judge_recorded(record, []).verdict, judge_recorded(record, []).reason) == ("unproven", "deleted")


def test_lost_task_names_the_exception_of_its_app() -> None:
    tasks = tasks_of(task(trace(), 1950, None).events)
    assert why(judge_recorded(ServerRecord(error="CancelledError"), tasks)).endswith("never finished (CancelledError)")
    assert why(judge_recorded(ServerRecord(), tasks)).endswith("never finished (the journal ends before that)")


def test_sent_response_of_an_older_journal_has_no_beginning() -> None:
    assert SentResponse.of(event(5, "server", "response_sent")) == SentResponse(0, 5, None)
