"""The tasks of a request, built from the server's events."""

from dataclasses import replace

import pytest

from fastbg.events import Event
from fastbg.evidence.tasks import Task, ms_between, tasks_of
from fastbg.evidence.verdict import judge
from tests.support import traces


def event(t_ns: int, name: str, **detail: object) -> Event:
    return Event(t_ns, "server", name, "r1", {"task": "shop.mail", "n": 0, **detail})


def test_wait_for_a_thread_and_blocked_loop_are_recorded() -> None:
    events = [
        event(1, "task_queued"),
        event(2, "task_started", where="loop"),
        event(3, "loop_blocked", ms=60.5),
        event(4, "loop_blocked", ms=100.0),
        event(5, "task_finished"),
        event(1, "task_queued", n=1),
        event(6, "task_started", n=1, where="thread", thread_id=70, waited_ms=0.0),
    ]
    assert tasks_of(events) == [
        Task("shop.mail", "finished", 2, 5, where="loop", blocked_ms=160.5),
        Task("shop.mail", "started", 6, where="thread", thread_id=70, waited_ms=0.0),
    ]


def test_unknown_events_are_ignored() -> None:
    events = [
        event(1, "task_queued", where="", waited_ms=None),
        event(2, "task_teleported"),
        event(3, "loop_unrolled"),
        event(4, "loop_blocked", n=7, ms=60.0),
        Event(5, "server", "shutdown", None, {"unfinished": 1}),
    ]
    (queued,) = tasks_of(events)
    assert queued == Task("shop.mail", "queued")
    assert queued.blocked_ms == 0


def test_thread_that_outlives_its_cancelled_call_is_awaited() -> None:
    trace = traces.sent(traces.answered(traces.trace(writes=0), 2000, size=100), 1500, size=100)
    traces.task(trace, 2500, end=None)
    trace.answered = True
    trace.events.append(traces.event(3000, "server", "request_finished", error="CancelledError"))
    assert not trace.settled
    assert judge(trace).verdict == "lost"
    trace.events.append(traces.event(4000, "server", "task_finished", task="app.write_log", n=0))
    assert trace.settled
    assert judge(trace).verdict == "response-first"


def test_traceback_belongs_to_the_last_try() -> None:
    started = [event(1, "task_queued"), event(2, "task_started")]
    retried = event(3, "task_retried", error="E", traceback="E\n  app.py:1 in mail")
    assert tasks_of([*started, retried])[0].traceback == "E\n  app.py:1 in mail"
    finished = tasks_of([*started, retried, event(4, "task_started"), event(5, "task_finished")])[0]
    assert (finished.error, finished.traceback) == (None, None)


def test_finished_task_stays_finished_on_redelivery() -> None:
    events = [event(1, "task_queued"), event(2, "task_started"), event(3, "task_retried")]
    assert tasks_of(events) == [Task("shop.mail", "queued", 2)]
    events += [event(4, "task_started"), event(5, "task_finished")]
    done = Task("shop.mail", "finished", 2, 5, tries=2)
    assert tasks_of(events) == [done]
    events += [event(6, "task_started"), event(7, "task_failed", error="OSError: no"), event(8, "task_retried")]
    assert tasks_of(events) == [replace(done, tries=3)]
    events += [event(9, "task_finished"), event(10, "task_dropped", reason="broker")]
    assert tasks_of(events) == [replace(done, tries=3)]


def test_failed_task_that_is_delivered_again_may_finish() -> None:
    events = [event(1, "task_started"), event(2, "task_failed", error="OSError: no", traceback="OSError: no\n  a.py:1")]
    failed = Task("shop.mail", "failed", 1, 2, error="OSError: no", traceback="OSError: no\n  a.py:1")
    assert tasks_of(events) == [failed]
    events += [event(3, "task_started"), event(4, "task_failed", error="KeyError: 1")]
    assert tasks_of(events) == [replace(failed, tries=2)]
    events += [event(5, "task_started"), event(6, "task_finished")]
    assert tasks_of(events) == [Task("shop.mail", "finished", 1, 6, tries=3)]


def test_dropped_task_that_is_delivered_after_all_may_finish() -> None:
    events = [event(1, "task_queued"), event(2, "task_dropped", reason="broker")]
    dropped = Task("shop.mail", "dropped", dropped_ns=2, reason="broker")
    assert tasks_of(events) == [dropped]
    events.append(event(3, "task_started", where="worker"))
    assert tasks_of(events) == [replace(dropped, started_ns=3)]
    events.append(event(4, "task_finished"))
    assert tasks_of(events) == [Task("shop.mail", "finished", 3, 4)]


@pytest.mark.parametrize(("server", "boot"), [("b1/7", "b1"), ("b1", "b2"), ("a/b1/7", "a/b1")])
def test_worker_under_the_same_boot_has_comparable_times(server: str, boot: str) -> None:
    about = {"server": server, "boot": boot, "where": "worker"}
    events = [event(5, "task_queued"), event(2, "task_started", **about), event(6, "task_finished", **about)]
    assert tasks_of(events) == [Task("shop.mail", "finished", 2, 6, where="worker")]


def test_worker_under_another_boot_has_no_comparable_times() -> None:
    about = {"server": "b1/7", "boot": "b2", "where": "worker"}
    events = [event(5, "task_queued", boot="b1"), event(2, "task_retried", **about)]
    assert tasks_of(events) == [Task("shop.mail", "queued", where="worker")]
    events.append(event(6, "task_started", server="b1/7", boot="b1"))
    events.append(event(3, "task_started", **about))
    found = Task("shop.mail", "started", where="worker", tries=2, elsewhere=True)
    assert tasks_of(events) == [found]
    events += [event(4, "task_finished", **about), event(9, "loop_blocked", ms=60.0)]
    assert tasks_of(events) == [replace(found, state="finished", blocked_ms=60.0)]
    events[-2] = event(4, "task_dropped", **about)
    assert tasks_of(events) == [replace(found, state="dropped", blocked_ms=60.0)]
    assert tasks_of([events[0], event(7, "task_failed"), *events[2:4]])[0].ended_ns is None


def test_blocked_time_belongs_to_the_task_with_its_number() -> None:
    events = [event(1, "task_queued"), event(2, "task_queued", n=1), event(3, "loop_blocked", ms=60.0)]
    events += [event(4, "loop_blocked", n=1, ms=70.0), event(5, "loop_blocked")]
    assert [task.blocked_ms for task in tasks_of(events)] == [60.0, 70.0]


def test_milliseconds_between_two_times() -> None:
    assert ms_between(1_000_000, 3_500_000) == 2.5
    assert ms_between(None, 1) is ms_between(1, None) is None
