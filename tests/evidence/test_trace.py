"""What the evidence about one request says: its times, its missing writes, and whether more may come."""

from collections.abc import Iterator
from typing import Any

import pytest

from fastbg.events import Event
from fastbg.evidence.trace import ExpectedWrite, SentRequest, Trace, Witnesses, Write
from tests.support.traces import LOG, TEXT, answered, event, expecting, finished, task, trace, wrote

OTHER = "/data/other.txt"


def test_write_may_be_any_of_the_equal_texts() -> None:
    alone = Write(LOG, TEXT, 1, 100, 8)
    assert (alone.earliest, alone.latest) == (100, 108)
    several = Write(LOG, TEXT, 1, 100, 8, ((90, 98), (110, 118)))
    assert (several.earliest, several.latest) == (90, 118)


def test_expected_write_is_described_as_text_or_pattern() -> None:
    assert ExpectedWrite(LOG, "a\n", True).description == r"'a\n'"
    assert ExpectedWrite(LOG, "a+", True, pattern=True).description == "a match of 'a+'"
    assert ExpectedWrite(LOG, "a", True).event == "'a' in log.txt"
    assert ExpectedWrite(LOG, "", False, change="created").event == "the creation of log.txt"
    assert ExpectedWrite(LOG, "", False, change="deleted").event == "the deletion of log.txt"


@pytest.mark.parametrize(
    ("url", "path"), [("http://x/a/b?q=1", "/a/b"), ("http://x", "/"), ("http://[x/a", "http://[x/a")]
)
def test_path_is_without_query(url: str, path: str) -> None:
    assert SentRequest("r1", "GET", url, "").path == path


def test_journal_with_a_gap_is_not_whole() -> None:
    assert Witnesses().whole_journal
    assert not Witnesses(journal=False).whole_journal
    assert not Witnesses(gap="deleted").whole_journal


def test_trace_without_events_knows_nothing() -> None:
    empty = Trace(SentRequest("r1", "GET", "/", "name"))
    assert (empty.name, empty.request_id, empty.location, empty.allow) == ("name", "r1", "", "")
    assert {
        empty.status,
        empty.error,
        empty.x_request_id,
        empty.traceback,
        empty.due_ns,
        empty.time("request_sent"),
        empty.ms(5),
    } == {None}
    assert empty.answered
    flags = (empty.was_active(0, 10**9), empty.with_broker, empty.settled, empty.server_gone, empty.interrupted)
    assert not any(flags)


@pytest.mark.parametrize(
    ("status", "location", "allow"), [(200, "", ""), (300, "/b", ""), (399, "/b", ""), (400, "", ""), (405, "", "GET")]
)
def test_redirect_and_refused_method_have_their_headers(status: int, location: str, allow: str) -> None:
    seen = trace()
    seen.events.append(event(1500, "client", "response_headers", status=status, location="/b", allow="GET"))
    assert (seen.status, seen.location, seen.allow) == (status, location, allow)
    seen.events = [*seen.events[:-1], event(1500, "client", "response_headers", status=status)]
    assert (seen.location, seen.allow) == ("", "")


def test_error_and_own_id_are_those_of_the_server() -> None:
    seen = finished(trace())
    assert (seen.error, seen.traceback, seen.x_request_id) == (None, None, None)
    seen.events = [
        *seen.events[:-1],
        event(1100, "server", "request_received", x_request_id="mine"),
        event(9000, "server", "request_finished", error="KeyError", traceback="KeyError: x"),
    ]
    assert (seen.error, seen.traceback, seen.x_request_id) == ("KeyError", "KeyError: x", "mine")


def test_writes_that_were_seen_are_not_overwritten_or_unknowable() -> None:
    seen = wrote(trace(writes=2, has_id=False), 3000, offset=100)
    written, missing = seen.expected.writes
    seen.witnesses.gap = "deleted"
    assert (seen.unknowable, seen.overwritten) == ([missing], [])
    written.overwritten = missing.overwritten = True
    assert (seen.unknowable, seen.overwritten) == ([], [missing])


def test_writes_are_in_the_order_of_their_times() -> None:
    seen = wrote(wrote(trace(writes=2), 3000, offset=100), 2000, offset=108, n=1)
    assert [write.t_ns for write in seen.writes] == [2000, 3000]


def test_write_is_missing_only_where_it_would_have_been_seen() -> None:
    seen = wrote(trace(writes=2), 3000, offset=100)
    written, missing = seen.expected.writes
    assert (seen.missing, seen.unknowable) == ([missing], [])
    written.count = 2
    assert seen.missing == [written, missing]
    assert seen.doubt(missing) is None
    seen.witnesses.disturbed[LOG] = "rewritten"
    assert (seen.missing, seen.unknowable) == ([written, missing], [])
    assert seen.doubt(missing) == "log.txt was rewritten during the request"
    seen.witnesses.disturbed = {OTHER: "rewritten"}
    assert seen.doubt(missing) is None
    missing.has_id = False
    for journal, gap, known in ((True, None, True), (True, "deleted", False), (False, None, False)):
        seen.witnesses.journal, seen.witnesses.gap = journal, gap
        assert (seen.missing, seen.unknowable) == (([written, missing], []) if known else ([written], [missing]))


def test_limit_of_missing_writes_is_the_last_one() -> None:
    seen = finished(answered(trace(writes=2), 2000, size=100))
    first, second = seen.expected.writes
    limits = [seen.within_ms]
    first.within_ms = 3
    limits.append(seen.within_ms)  # the other write has no limit
    assert limits == [None, None]
    second.within_ms = 2
    assert (seen.within_ms, seen.due_ns) == (3, 1000 + 3_000_000)
    wrote(seen, 3000, offset=100)
    assert seen.within_ms == 2
    wrote(seen, 3000, offset=108, n=1)
    assert [seen.within_ms, seen.due_ns] == [None, None]


def test_limit_without_a_journal_begins_with_the_answer() -> None:
    seen = trace(journal=False)
    seen.expected.writes[0].within_ms = 3
    assert seen.within_ms == 3
    seen.answered = False
    assert seen.within_ms is None


def test_request_is_active_until_its_last_task_has_ended() -> None:
    seen = task(finished(trace(), 2000), 3000)  # sent at 1000, the task ends at 3010
    assert [seen.was_active(*window) for window in ((0, 999), (0, 1000), (3010, 4000), (3011, 4000))] == [
        False,
        True,
        True,
        False,
    ]
    assert task(finished(trace(), 2000), 3000, None).was_active(9000, 9001)
    assert trace().was_active(9000, 9001)
    early = finished(task(trace(), 1100), 2000)
    assert (early.was_active(2000, 2000), early.was_active(2001, 2002)) == (True, False)
    dropped = finished(task(trace(), None, "task_dropped"), 2000)
    assert (dropped.was_active(2000, 2000), dropped.was_active(2001, 2002)) == (True, False)


def test_broker_needs_no_server_only_for_its_own_tasks() -> None:
    queued: dict[str, Any] = {"task": "app.mail", "n": 0, "where": "worker"}
    seen = trace(writes=0)
    seen.events.append(event(1001, "server", "task_queued", **queued))
    assert not seen.with_broker  # the request is not finished
    seen.events.append(event(1001, "server", "task_started", **queued))
    assert seen.with_broker  # a server that is killed now is not needed
    assert finished(seen).with_broker
    seen.events.append(event(1002, "server", "task_queued", task="app.mail", n=1))
    assert not seen.with_broker
    seen.events.append(event(1003, "server", "task_finished", task="app.mail", n=1))
    assert seen.with_broker
    seen.events.append(event(1004, "server", "task_finished", **queued))
    assert not seen.with_broker


def settled(seen: Trace) -> list[bool]:
    """Return whether ``seen`` is settled while the client waits, and after that."""
    found = []
    for seen.answered in (False, True):
        found.append(seen.settled)
    return found


def test_request_is_settled_when_nothing_more_can_come() -> None:
    seen = trace(writes=0)
    assert settled(seen) == [False, False]
    assert settled(answered(seen, 2000, size=100)) == [False, False]
    assert settled(finished(seen)) == [False, True]
    assert settled(task(seen, 9100, None)) == [False, False]
    seen.events.append(event(9200, "server", "task_finished", task="app.write_log", n=0))
    assert settled(seen) == [False, True]


def test_failed_request_is_settled_unless_it_was_sent() -> None:
    """What was sent may run in the app, although the client or a proxy has closed the connection."""
    seen = trace()
    (sent,) = seen.events
    seen.events.append(event(2000, "client", "request_failed", error="ReadError"))
    assert settled(seen) == [False, False]
    assert settled(finished(task(seen, 3000, "task_failed"))) == [False, True]
    seen.events.remove(sent)
    assert settled(seen) == [False, True]
    seen = trace(journal=False)
    seen.events.append(event(2000, "client", "request_failed", error="ReadError"))
    assert settled(seen) == [False, True]


def test_missing_write_is_awaited_unless_it_is_hopeless() -> None:
    seen = finished(answered(trace(), 2000, size=100))
    assert not seen.settled
    assert wrote(finished(answered(trace(), 2000, size=100)), 3000, offset=100).settled
    seen.events = [*seen.events[:-1], event(9000, "server", "request_finished", error="KeyError: x")]
    assert seen.settled
    for end, hopeless in (("task_failed", True), ("task_dropped", True), ("task_finished", False)):
        assert task(finished(answered(trace(), 2000, size=100)), 9100, end).settled == hopeless


def test_file_is_read_to_the_size_that_the_server_saw() -> None:
    seen = finished(task(answered(trace(writes=0), 2000, size=100), 3000, "task_failed"))
    (never,) = expecting(seen, writes=(ExpectedWrite(LOG, TEXT, True, count=0),)).expected.writes
    assert seen.settled
    never.size = 100
    assert not seen.settled
    never.complete = True
    assert seen.settled


def test_without_a_journal_only_the_writes_are_awaited() -> None:
    seen = answered(trace(journal=False), 2000, size=100)
    assert not seen.settled
    assert wrote(seen, 3000, offset=100).settled


class ReadEvents(list[Event]):
    """Events that count how often one of them is read."""

    reads = 0

    def __getitem__(self, number: Any) -> Any:
        self.reads += 1
        return super().__getitem__(number)

    def __iter__(self) -> Iterator[Event]:
        for number in range(len(self)):
            yield self[number]


def test_each_event_is_read_once_however_many_there_are() -> None:
    """Otherwise a request with 16,000 tasks takes a minute."""
    seen = trace()
    seen.events = events = ReadEvents(seen.events)
    for n in range(100):
        for name in ("task_queued", "task_started", "task_finished"):
            seen.events.append(event(2000 + n, "server", name, task="shop.mail", n=n, where="loop"))
            assert not seen.settled
            assert not seen.needs_look
            assert not seen.with_broker
            assert seen.due_ns is None
            assert seen.find("no_event") is None
    assert events.reads == len(events)
    assert len(finished(seen).tasks) == 100
    assert seen.tasks is seen.tasks


def test_task_is_open_until_its_end_in_any_order_of_the_lines() -> None:
    queued: dict[str, Any] = {"task": "shop.mail", "n": 0, "where": "worker"}
    seen = finished(trace())
    assert not seen.with_broker
    seen.events.append(event(2000, "server", "task_queued", **queued))
    assert (seen.with_broker, seen.settled) == (True, False)
    seen.events.append(event(2002, "server", "task_finished", **queued))
    seen.events.append(event(2001, "server", "task_started", **queued))  # delivered again
    assert (seen.with_broker, [task.is_open for task in seen.tasks]) == (False, [False])
