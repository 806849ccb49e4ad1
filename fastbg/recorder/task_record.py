"""The state of one background task, and the reason if it was dropped."""

from collections.abc import Callable, Collection, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from starlette.background import BackgroundTask, BackgroundTasks

from fastbg.recorder.journal_events import DropReason, JsonText
from fastbg.recorder.naming import describe

Runnable = BackgroundTask | Callable[..., Any]  # Starlette awaits any callable that a response has as its background

current_task: ContextVar["TaskRecord | None"] = ContextVar("fastbg_task", default=None)


class _State:
    """What happens to a task. As attributes of a class: only what differs from them is stored for each task.

    ``has_turn``: Starlette has called it; it may still wait for a thread. ``own_call``: the ``__call__`` of its own
    class runs. ``delegates``: that one has called ``BackgroundTask.__call__``. ``thread``, ``coroutine``: what runs it.
    ``error``: the exception that it raised. ``not_run``: what it made and did not run, such as "returned a coroutine
    that nobody awaited". ``after_response``: Starlette called it after the response was sent.
    """

    has_turn: bool = False
    own_call: bool = False
    delegates: bool = False
    started_ns: int | None = None
    thread: int | None = None
    coroutine: Coroutine[Any, Any, Any] | None = None
    ended: bool = False
    error: str | None = None
    not_run: str | None = None
    after_response: bool = False


@dataclass(eq=False)  # without slots, for the attributes of `_State`
class TaskRecord(_State):
    """A background task of a request.

    ``request``: method and path. ``n``: its number in the request. ``task``: None after the request. ``tasks``: the
    collection that it was added to, if any. ``text``: its name and number as JSON. ``is_late``: it was added after the
    response was sent.
    """

    name: str
    request: str
    n: int
    task: Runnable | None
    tasks: BackgroundTasks | None
    text: JsonText
    is_late: bool = False

    @property
    def started(self) -> bool:
        return self.started_ns is not None


def why_dropped(
    dropped: TaskRecord,
    all_tasks: Collection[TaskRecord],
    handled: str | None,
    error: BaseException | None,
    holder: str | None,
) -> tuple[DropReason, str]:
    """Return the reason, and a text for the user. Only recorded facts are given as a reason.

    ``all_tasks``: of the request. ``handled``: the exception that the response was made from, if any. ``error``: the
    exception that the app raised, if any. ``holder``: what became of the response that has the task, if known.
    """
    members = _members(dropped.tasks)
    ran = [task for task in all_tasks if task.started]
    for task in ran:
        if task.error is not None and id(task.task) in members:
            return "earlier-task-failed", f"{task.name} raised {task.error}"
    if dropped.is_late:
        return "after-response", "queued after the response was sent, and nothing ran it after that"
    if handled is not None:
        return "exception", handled
    for task in ran:
        if task.after_response and id(task.task) not in members:
            return "own-response", f"the response had its own background task: {task.name}"
    if error is not None:
        return "exception", describe(error)
    if holder is not None:
        return "never-called", holder
    return "unknown", "the recorder saw no cause"


def _members(tasks: BackgroundTasks | None) -> set[int]:
    """Return the ids of all tasks in ``tasks``, including nested collections."""
    members: set[int] = set()
    collections = [tasks] if tasks is not None else []
    while collections:
        for task in collections.pop().tasks:
            if isinstance(task, BackgroundTasks) and id(task) not in members:
                collections.append(task)
            members.add(id(task))
    return members
