"""The tasks of a request, built from the server's events."""

from fastbg.events import Event
from fastbg.evidence.tasks import Task, tasks_of
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
        event(6, "task_started", n=1, where="thread", waited_ms=0.0),
    ]
    assert tasks_of(events) == [
        Task("shop.mail", "finished", 2, 5, where="loop", blocked_ms=160.5),
        Task("shop.mail", "started", 6, where="thread", waited_ms=0.0),
    ]


def test_unknown_events_are_ignored() -> None:
    events = [
        event(1, "task_queued"),
        event(2, "task_teleported"),
        event(3, "loop_unrolled"),
        event(4, "loop_blocked", n=7, ms=60.0),
        Event(5, "server", "shutdown", None, {"unfinished": 1}),
    ]
    assert tasks_of(events) == [Task("shop.mail", "queued")]


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
