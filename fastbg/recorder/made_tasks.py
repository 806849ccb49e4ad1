"""The tasks that a request has made and that nothing has called yet.

Such a task is dropped when it no longer exists: then nothing can call it any more. While it exists, for example in a
cached response, nothing is claimed. The exceptions are a task of FastAPI's injected Response, which FastAPI never
calls, and one of a response that raised while it was sent, which the exception keeps alive.
"""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any, NamedTuple

from anyio import CancelScope, sleep
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response

from fastbg.recorder.naming import describe, task_name

INJECTED = "it was set on the injected Response, whose background FastAPI ignores"
NOTHING_CALLED = "it was made, and nothing called it"

# Seconds to wait for the thread of an endpoint, and the event loop, to release what the endpoint returned.
_PAUSES_S = (0, 0.001, 0.005)


class Holder(NamedTuple):  # made for each request with tasks, in half the time of a dataclass
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
    """A task that nothing has called. ``holder``: the response that has it, if any."""

    name: str
    reference: "weakref.ref[BackgroundTask]"
    holder: Holder | None = None

    @property
    def is_injected(self) -> bool:
        return self.holder is not None and self.holder.is_injected

    @property
    def why(self) -> str:
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
                if all(made.is_injected for made in self._made.values()):
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
        return [*self._gone, *(made for made in self._made.values() if made.is_injected)]

    def _take_from_raising(self, error: BaseException) -> None:
        """Take the tasks of the response whose ``__call__`` raised ``error``."""
        for frame, _ in walk_tb(error.__traceback__):
            response = frame.f_locals.get("self") if frame.f_code.co_name == "__call__" else None
            if not isinstance(response, Response):
                continue
            for task in _tasks_in(getattr(response, "background", None)):
                made = self._made.pop(id(task), None)
                if made is not None:
                    made.holder = Holder(type(response), error=describe(error))
                    self._gone.append(made)


def _tasks_in(background: object) -> Sequence[object]:
    return background.tasks if isinstance(background, BackgroundTasks) else [background]
