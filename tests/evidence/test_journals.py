"""Several journals merged into one summary."""

import io
from collections.abc import Sequence

import pytest

from fastbg.commands.report import read
from fastbg.evidence import history
from fastbg.evidence.history import GIVEN_UP, REUSED, JournalAggregator, JournalSummary
from fastbg.evidence.journals import join_workers, merge
from fastbg.evidence.worker_events import WorkerEvents
from tests.support.recordings import TASK, line, mail, received, sent
from tests.support.traces import why


def merged(*journals: Sequence[bytes], last: int = 20, limit: int = history.MAX_HELD) -> JournalSummary:
    workers = WorkerEvents(limit)
    aggregators = []
    for number, lines in enumerate(journals):
        aggregators.append(JournalAggregator(last, f"journal {number}", workers))
        read(io.BytesIO(b"".join(lines)), None, aggregators[-1])
        aggregators[-1].end()
    join_workers(aggregators, workers)
    return merge([each.summary() for each in aggregators], last=last, strays=workers.count)


def queued(number: int) -> bytes:
    request = f"r{number}"
    queue = line(1001, "task_queued", request, **TASK, where="worker")
    return received(request=request) + queue + sent(1002, request) + line(1003, "request_finished", request)


def worked(number: int) -> bytes:
    about = {**TASK, "where": "worker", "worker": "w", "server": "b1/7"}
    return line(1010, "task_started", f"r{number}", **about) + line(1020, "task_finished", f"r{number}", **about)


def test_boots_are_counted_once_and_processes_by_journal() -> None:
    found = merged([mail(), mail(boot="b2")], [mail(boot="b2"), mail(boot="b2", pid=8)])
    assert (found.boots, found.processes, found.requests) == (frozenset({"b1", "b2"}), 4, 4)
    assert [(each.journal, each.processes, each.last) for each in found.journals] == [
        ("journal 0", 2, ()),
        ("journal 1", 2, ()),
    ]


@pytest.mark.parametrize("last", [0, 1, 5])
def test_only_the_last_requests_of_all_are_kept(last: int) -> None:
    journals = [
        [mail(request=f"{name}{second}", wall_ns=second * 10**9) for second in seconds]
        for name, seconds in (("a", (1, 2, 9)), ("b", (3, 4, 5)))
    ]
    found = merged(*journals, last=last)
    assert [request.request_id for request in found.last] == ["a1", "a2", "b3", "b4", "b5", "a9"][6 - last :]


def test_request_of_a_thread_is_not_kept_for_a_worker() -> None:
    aggregator = JournalAggregator(20, "one", WorkerEvents(history.MAX_HELD))
    read(io.BytesIO(received() + line(1003, "task_started", **TASK, where="thread") + queued(2)), None, aggregator)
    aggregator.end()
    assert aggregator.unfinished == [("b1/7", "r2")]
    summary = aggregator.summary()
    assert (summary.unfinished, summary.counts["lost"]) == (2, 2)


def test_memory_of_events_of_workers_is_limited() -> None:
    servers, workers = [queued(number) for number in range(100)], [worked(number) for number in range(100)]
    limit = len(b"".join(workers)) // 2
    found = merged(workers, servers, last=100, limit=limit)
    assert found.counts["lost"] == 0
    assert found.counts["response-first"] + found.counts["unproven"] == 100
    assert 40 < found.counts["response-first"] < 60
    assert why(found.last[0].judgement) == GIVEN_UP
    assert found.last[99].judgement.verdict == "response-first"


def test_task_that_no_worker_started_is_lost() -> None:
    found = merged([queued(1)], [worked(2)])
    assert (found.counts["lost"], found.strays, found.unfinished) == (1, 2, 1)


def test_message_that_is_delivered_again_changes_nothing() -> None:
    found = merged([queued(1)], [worked(1), worked(1)])
    assert (found.counts["response-first"], found.requests) == (1, 1)


def test_worker_of_a_request_in_two_journals_proves_nothing() -> None:
    found = merged([queued(1)], [queued(1)], [worked(1)])
    assert [why(request.judgement) for request in found.last] == [REUSED, REUSED]
