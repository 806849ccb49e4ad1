"""What a server process has not finished, and where in the user's code it is now.

All functions may be called in any thread, and in a signal handler: also while a task blocks the event loop.
"""

import sys
from dataclasses import dataclass
from types import CoroutineType, FrameType, GeneratorType

from fastbg.recorder.request_record import RequestRecord
from fastbg.recorder.task_record import TaskRecord
from fastbg.recorder.tracebacks import MAX_FRAMES, outwards, place_of, shorten


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A background task that has not ended, or a request that has not.

    ``task``: its name, None for a request. ``request``: method and path. ``state``: a text. ``since_ns``: when the task
    started, None if it has not, or when the request was received. ``place``: ``file:line in function`` where the user's
    code is now, None if unknown.
    """

    task: str | None
    request: str
    state: str
    since_ns: int | None
    place: str | None

    def describe(self, now_ns: int) -> str:
        """Return one line for the user, without control characters."""
        who = shorten(self.request) if self.task is None else f"{shorten(self.task)} of {shorten(self.request)}"
        since = "" if self.since_ns is None else f" for {(now_ns - self.since_ns) / 1e9:.1f} s"
        return f"{who}: {self.state}{since}" + ("" if self.place is None else f", at {self.place}")


def unfinished_task(task: TaskRecord) -> Unfinished:
    if task.thread is not None:
        frame = sys._current_frames().get(task.thread)
        state, place = "in a thread", place_of(outwards(frame)[::-1])
    elif task.started:
        state, place = "in the event loop", place_of(_frames_of(task.coroutine))
    else:
        state, place = "waits for a thread" if task.has_turn else "not started", None
    return Unfinished(task.name, task.request, state, task.started_ns, place)


def unfinished_request(request: RequestRecord) -> Unfinished:
    return Unfinished(None, request.name, "not finished", request.received_ns, place_of(_frames_of(request.call)))


def _frames_of(call: object) -> list[FrameType]:
    """Return the frames of a coroutine and of what it awaits, the outermost first."""
    frames: list[FrameType] = []
    while len(frames) < MAX_FRAMES:
        if isinstance(call, CoroutineType):
            frame, is_running, call = call.cr_frame, call.cr_running, call.cr_await
        elif isinstance(call, GeneratorType):
            frame, is_running, call = call.gi_frame, call.gi_running, call.gi_yieldfrom
        else:
            break
        if frame is None:  # it has ended
            break
        if is_running:
            return [*frames, *_frames_inside(frame)]
        frames.append(frame)
    return frames


def _frames_inside(frame: FrameType) -> list[FrameType]:
    """Return ``frame``, which a thread is executing, and those that it has called."""
    for innermost in sys._current_frames().values():
        stack = outwards(innermost)
        if frame in stack:
            return stack[stack.index(frame) :: -1]
    return []
