"""Which request wrote a text, and when, as `fastbg tail` shows it."""

from typing import Any

import pytest

from fastbg.events import Event, boot_id
from fastbg.evidence.activity import OVERDUE_NS, ActiveRequest, Activity

MS = 10**6
LOG = "/data/log.txt"
TASK: dict[str, Any] = {"task": "shop.mail", "n": 0}


def event(t_ms: float, name: str, request: str | None = "r1", *, pid: int = 7, **detail: Any) -> Event:
    return Event(int(t_ms * MS), "server", name, request, {"boot": boot_id(), "pid": pid, **detail})


def answered(t_ms: float, request: str = "r1", **detail: Any) -> list[Event]:
    """Return the events of a request that arrives at ``t_ms`` and is answered 2 ms later; its task then runs."""
    sent = {"status": 200, "sending_ns": int((t_ms + 1.9) * MS), "buffered": 0}
    return [
        event(t_ms, "request_received", request, method="POST", path="/mail"),
        event(t_ms + 1, "task_queued", request, **TASK),
        event(t_ms + 2, "response_sent", request, **(sent | detail)),
        event(t_ms + 3, "task_started", request, **TASK, where="thread"),
    ]


def finished(t_ms: float, request: str = "r1", **detail: Any) -> list[Event]:
    return [event(t_ms, "task_finished", request, **TASK), event(t_ms + 1, "request_finished", request, **detail)]


def seen(*events: Event) -> Activity:
    activity = Activity()
    for each in events:
        activity.add(each)
    return activity


def writer(activity: Activity, earliest_ms: float, seen_ms: float, text: str = "hello") -> str | None:
    request = activity.writer(text, int(earliest_ms * MS), int(seen_ms * MS))
    return request.request_id if request else None


def test_only_active_request_is_the_writer() -> None:
    activity = seen(*answered(0))
    assert writer(activity, 500, 501) == "r1"
    assert writer(activity, -9, -5) is None


def test_write_of_two_active_requests_has_no_writer() -> None:
    assert writer(seen(*answered(0), *answered(100, "r2")), 500, 501) is None


def test_request_that_ended_before_the_write_is_no_writer() -> None:
    activity = seen(*answered(0), *finished(500), *answered(600, "r2"))
    assert writer(activity, 501.5, 650) == "r2"
    assert writer(activity, 499, 500.5) == "r1"
    assert writer(activity, 499, 650) is None


def test_mark_in_the_text_names_the_writer() -> None:
    activity = seen(*answered(0, "a1b2c3-1"), *answered(1, "a1b2c3-2"))
    assert writer(activity, 500, 501, "mail to a1b2c3-2@example.com") == "a1b2c3-2"
    assert writer(activity, 500, 501, "id a1b2c301-0000-4000-8000-000000000002") == "a1b2c3-2"
    assert writer(activity, 500, 501, "mail to a1b2c3-9@example.com") is None


def test_request_of_another_boot_is_no_writer() -> None:
    activity = seen(event(0, "request_received", boot="another", method="GET", path="/"))
    assert writer(activity, 500, 501) is None


@pytest.mark.parametrize(
    ("earliest_ms", "seen_ms", "order"), [(2.1, 3, "after"), (0, 1.8, "before"), (1, 3, "unknown"), (0, 2, "unknown")]
)
def test_time_of_a_write_shows_its_order(earliest_ms: float, seen_ms: float, order: str) -> None:
    request = seen(*answered(0)).open[0]
    assert order_of(request, 10, 20, earliest_ms, seen_ms) == order


@pytest.mark.parametrize(
    ("before", "after", "last", "order"),
    [
        ({LOG: 10}, {LOG: 10}, {LOG: 20}, "after"),
        ({LOG: 20}, {LOG: 20}, {LOG: 20}, "before"),
        ({LOG: 10}, {LOG: 20}, {LOG: 20}, "unknown"),
        ({}, {}, {LOG: 20}, "after"),
        ({}, {}, {}, "unknown"),
    ],
)
def test_sizes_of_the_file_show_the_order(
    before: dict[str, int], after: dict[str, int], last: dict[str, int], order: str
) -> None:
    activity = Activity()
    request = None
    for each in [*answered(0, files=before, files_after=after), *finished(2.4, files=last)]:
        request = activity.add(each)
    assert request is not None
    assert order_of(request, 10, 20, 1, 3) == order


def test_worker_shows_that_a_file_is_new() -> None:
    activity = seen(*answered(0, files={}))
    request = activity.open[0]
    assert order_of(request, 0, 20, 1, 3) == "unknown"
    activity.add(event(5, "task_finished", **TASK, where="worker", server=f"{boot_id()}/7", pid=8, files={LOG: 20}))
    assert order_of(request, 0, 20, 1, 3) == "after"


def test_write_without_a_response_yet_was_before_it() -> None:
    request = seen(event(0, "request_received", method="GET", path="/")).open[0]
    assert order_of(request, 0, 5, 0, 1) == "before"


def order_of(request: ActiveRequest, offset: int, end: int, earliest_ms: float, seen_ms: float) -> str:
    return request.order_of_write(LOG, offset, end, int(earliest_ms * MS), int(seen_ms * MS))


def test_missing_response_is_overdue_once() -> None:
    activity = seen(event(0, "request_received", method="GET", path="/"))
    assert not list(activity.overdue(OVERDUE_NS))
    assert [task for _, task in activity.overdue(OVERDUE_NS + 1)] == [None]
    assert not list(activity.overdue(2 * OVERDUE_NS))


def test_task_that_does_not_start_is_overdue() -> None:
    events = answered(0)
    waiting, running = seen(*events[:3]), seen(*events)
    assert [task.name for _, task in waiting.overdue(OVERDUE_NS + 3 * MS) if task] == ["shop.mail"]
    assert not list(running.overdue(OVERDUE_NS + 3 * MS))


def test_end_of_a_process_loses_its_requests() -> None:
    activity = seen(*answered(0, "r1"), *answered(5, "r2"), *finished(9, "r2"))
    assert [request.request_id for request in activity.end_process(7)] == ["r1"]
    assert activity.open == ()
    assert writer(activity, 500, 501) is None


def test_task_of_a_worker_outlives_the_server() -> None:
    events = [*answered(0)[:3], event(3, "task_queued", **TASK, where="worker"), event(4, "request_finished")]
    assert seen(*events).end_process(7) == []


def test_many_tasks_take_linear_time() -> None:
    activity = seen(*answered(0))
    request = activity.open[0]
    for n in range(1, 1000):
        activity.add(event(4, "task_queued", task="shop.mail", n=n))
    assert request.open_tasks == 1000
    for n in range(1000):
        activity.add(event(5, "task_finished", task="shop.mail", n=n))
    assert (request.open_tasks, request.is_over) == (0, False)
    activity.add(event(6, "request_finished"))
    assert request.is_over
