"""Why a task was dropped: only recorded facts are given as a reason."""

from collections.abc import Callable

import pytest
from starlette.background import BackgroundTask, BackgroundTasks

from fastbg.recorder.task_record import TaskRecord, why_dropped

UNKNOWN = ("unknown", "the recorder saw no cause")


def work() -> None:
    pass


def record(n: int, tasks: BackgroundTasks | None, *, started: bool = False, error: str | None = None) -> TaskRecord:
    """Return the record of a new task in ``tasks``."""
    task = BackgroundTask(work)
    if tasks is not None:
        tasks.tasks.append(task)
    made = TaskRecord(f"task {n}", "GET /", n, task, tasks, "")
    made.has_turn = made.ended = started
    made.started_ns, made.error = 1 if started else None, error
    return made


def test_new_record_is_a_task_that_waits_for_its_turn() -> None:
    new = TaskRecord("work", "GET /", 0, BackgroundTask(work), None, "")
    assert (new.has_turn, new.started, new.ended, new.error, new.after_response) == (False, False, False, None, False)


def test_failure_of_an_earlier_task_drops_the_later_ones() -> None:
    tasks = BackgroundTasks()
    first, failed = record(0, tasks, started=True), record(1, tasks, started=True, error="OSError: no")
    dropped = record(2, tasks)
    found = why_dropped(dropped, [first, failed, dropped], "HTTPException 404", KeyError("x"), None)
    assert found == ("earlier-task-failed", "task 1 raised OSError: no")


def test_failure_in_a_nested_collection_counts() -> None:
    inner, outer = BackgroundTasks(), BackgroundTasks()
    failed = record(0, inner, started=True, error="OSError: no")
    outer.tasks += [inner, outer]  # a collection that contains itself
    dropped = record(1, outer)
    assert why_dropped(dropped, [failed, dropped], None, None, None)[0] == "earlier-task-failed"


@pytest.mark.parametrize("make", [lambda: None, BackgroundTasks])
def test_failure_of_another_collection_is_no_reason(make: Callable[[], BackgroundTasks | None]) -> None:
    failed = record(0, BackgroundTasks(), started=True, error="OSError: no")
    dropped = record(1, make())
    assert why_dropped(dropped, [failed, dropped], None, None, None) == UNKNOWN


def test_exception_of_the_response_comes_before_the_apps() -> None:
    dropped = record(0, BackgroundTasks())
    assert why_dropped(dropped, [dropped], "HTTPException 404", KeyError("x"), None) == (
        "exception",
        "HTTPException 404",
    )
    assert why_dropped(dropped, [dropped], None, KeyError("x"), None) == ("exception", "KeyError: 'x'")
    assert why_dropped(dropped, [dropped], None, None, None) == UNKNOWN


def test_own_task_of_the_response_is_the_reason() -> None:
    own = record(0, None, started=True)
    dropped = record(1, BackgroundTasks())
    assert why_dropped(dropped, [own, dropped], None, KeyError("x"), None)[0] == "exception"
    own.after_response = True
    found = ("own-response", "the response had its own background task: task 0")
    assert why_dropped(dropped, [own, dropped], None, KeyError("x"), None) == found
    assert why_dropped(dropped, [own, dropped], "HTTPException 404", None, None)[0] == "exception"
    own.started_ns = None
    assert why_dropped(dropped, [own, dropped], None, None, None) == UNKNOWN


def test_task_of_the_same_collection_is_no_own_task() -> None:
    tasks = BackgroundTasks()
    ran, dropped = record(0, tasks, started=True), record(1, tasks)
    ran.after_response = True
    assert why_dropped(dropped, [ran, dropped], None, None, None) == UNKNOWN


def test_late_task_and_task_of_an_unsent_response_say_so() -> None:
    late = record(0, BackgroundTasks())
    late.is_late = True
    assert why_dropped(late, [late], "HTTPException 404", None, None)[0] == "after-response"
    dropped = record(1, BackgroundTasks())
    assert why_dropped(dropped, [dropped], None, None, "its response was not sent") == (
        "never-called",
        "its response was not sent",
    )
    assert why_dropped(dropped, [dropped], None, KeyError("x"), "its response was not sent")[0] == "exception"
