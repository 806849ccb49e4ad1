"""The tasks that a request has made and that nothing has called yet.

Such a task is dropped when it no longer exists: then nothing can call it any more. While it exists, for example in a
cached response, nothing is claimed. The exceptions are a task of FastAPI's injected Response, which FastAPI never
calls, and one that the frames of the exception that ended the request keep alive.
"""

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from traceback import walk_tb
from types import FrameType
from typing import Any, NamedTuple

from anyio import CancelScope, sleep
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response

from fastbg.recorder.naming import describe, task_name

INJECTED = "it was set on the injected Response, whose background FastAPI ignores"
NOTHING_CALLED = "it was made, and nothing called it"

# Seconds to wait for the thread of an endpoint, and the event loop, to release what the endpoint returned.
_PAUSES_S = (0, 0.001, 0.005)


class Holder(NamedTuple):
    """A response that has a task. ``is_injected``: FastAPI made it for a parameter of the endpoint.

    ``error``: the exception that it raised.
    """

    kind: type[Response]
    is_injected: bool = False
    error: str | None = None

    def __str__(self) -> str:
        end = "did not call it" if self.error is None else f"raised {self.error}"
        return INJECTED if self.is_injected else f"the {self.kind.__name__} that it was given to {end}"


@dataclass(slots=True, eq=False)
class MadeTask:
    """A task that nothing has called. ``holder``: the response that has it, if any. ``error``: what the app raised."""

    name: str
    reference: "weakref.ref[BackgroundTask]"
    holder: Holder | None = None
    error: str | None = None

    @property
    def is_injected(self) -> bool:
        return self.holder is not None and self.holder.is_injected

    @property
    def why(self) -> str:
        if self.error is not None and (self.holder is None or self.holder.error is None):
            return f"it was made, and the app raised {self.error} before anything called it"
        return NOTHING_CALLED if self.holder is None else str(self.holder)


class MadeTasks:
    """The tasks that one request has made, by their ids, until they are called or no longer exist."""

    __slots__ = ("_gone", "_holders", "_made")

    def __init__(self) -> None:
        self._made: dict[int, MadeTask] = {}
        self._gone: list[MadeTask] = []
        self._holders: dict[int, Holder] = {}  # by the id of a collection, which its queued tasks keep alive

    @property
    def has_any(self) -> bool:
        return bool(self._made)

    async def wait(self) -> None:
        """Wait a moment for the tasks to be called, or to be deleted."""
        with CancelScope(shield=True):
            for pause_s in _PAUSES_S:
                if all(made.is_injected for made in self._all()):
                    return
                await sleep(pause_s)

    def add(self, task: BackgroundTask) -> None:
        key = id(task)

        def end(_: Any) -> None:
            made = self._made.pop(key, None)
            if made is not None:
                self._gone.append(made)

        self._made[key] = MadeTask(task_name(task.func), weakref.ref(task, end))

    def remove(self, task: Any) -> None:
        """Forget a task that is queued or called."""
        self._made.pop(id(task), None)

    def give(self, background: BackgroundTask, response: Response) -> None:
        """Store that ``response`` has ``background``."""
        # FastAPI's injected response has no status until the endpoint sets one.
        holder = Holder(type(response), getattr(response, "status_code", None) is None)
        if isinstance(background, BackgroundTasks):
            self._holders[id(background)] = holder
        for task in _tasks_in(background):
            if id(task) in self._made:
                self._made[id(task)].holder = holder

    def why(self, tasks: BackgroundTasks | None) -> str | None:
        """Return why nothing called ``tasks``, None if no response has them."""
        holder = self._holders.get(id(tasks))
        return None if holder is None else str(holder)

    def never_called(self, error: BaseException | None) -> Sequence[MadeTask]:
        """Return the tasks that nothing can call any more. ``error``: the app's call, which has ended, raised it."""
        if not (self._made or self._gone):
            return ()
        if self._made and error is not None:
            self._take_from_raising(error)
        if self._made:
            gc.collect(0)  # an exception may keep them alive in a cycle
        return [*self._gone, *(made for made in self._all() if made.is_injected)]

    def _all(self) -> Sequence[MadeTask]:
        """Return a copy: a thread may make tasks, and any task may be deleted."""
        return list(self._made.values())

    def _take_from_raising(self, error: BaseException) -> None:
        """Take the tasks that the frames of ``error`` keep alive: they end with it."""
        raised, taken = describe(error), set()
        for frame in _frames_of(error):
            for name, value in frame.f_locals.items():
                for task in _tasks_held_by(value):
                    made = self._made.get(id(task))
                    if made is None:
                        continue
                    taken.add(id(task))
                    made.error = raised
                    if name == "self" and issubclass(type(value), Response):  # a method of the response raised
                        made.holder = Holder(type(value), error=raised)
        self._gone += [self._made.pop(key) for key in taken]


def _frames_of(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an exception, of those that it came from, and of the members of a group."""
    errors, seen = [error], {id(error)}
    for each in errors:  # the list grows
        yield from (frame for frame, _ in walk_tb(each.__traceback__))
        members = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        for other in (each.__cause__, each.__context__, *members):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                errors.append(other)


def _tasks_held_by(value: object) -> Sequence[object]:
    """Return the tasks of a response, a collection or a task. Nothing of any other object is asked for."""
    kind = type(value)
    if not issubclass(kind, Response | BackgroundTask):
        return ()
    return _tasks_in(vars(value).get("background") if issubclass(kind, Response) else value)


def _tasks_in(background: object) -> Sequence[object]:
    return background.tasks if isinstance(background, BackgroundTasks) else [background]
