"""Notices which line of the user's code blocks an event loop outside of background tasks, such as in an endpoint.

A thread asks the event loop for an answer again and again. If there is none, it looks at the frames of the loop's
thread. For a background task, `steps` measures the exact time instead.
"""

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fastbg.clock import monotonic_ns, processor_clock
from fastbg.recorder.steps import BLOCKED_NS, in_steps
from fastbg.recorder.tracebacks import outwards, place_of

ASK_S = 0.02  # between an answer and the next question
IDLE_S = 5.0  # the thread ends after this time without an open request

_TASK_STEP: CodeType = in_steps.__code__
_OF_THE_LOOP = ("/asyncio/runners.py", "/asyncio/base_events.py", "/asyncio/events.py")


@dataclass(frozen=True, slots=True)
class BlockedLoop:
    """A time in which the event loop did not answer.

    ``place``: ``file:line in function`` of the user's code. ``variables``: of the frame that serves the request, empty
    outside of requests. ``ms``: the length, without the moment before the question.
    """

    place: str
    variables: dict[str, Any]
    ms: float


class _LoopThread:
    """The thread of an event loop, which creates this object."""

    def __init__(self) -> None:
        self.ident = threading.get_ident()
        self.cpu_ns = processor_clock(self.ident)
        self._state = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def lacks_processor(self, took_ns: int, cpu_ns: int) -> bool:
        """Return whether the thread could have run for ``took_ns``, but had a processor for less than half of it."""
        try:
            state = self._state.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
        except OSError:  # not Linux
            return False
        return state == "R" and 2 * cpu_ns < took_ns


class LoopWatch:
    """Watches the event loop in which `start` is called, as long as ``is_busy()``: requests are open.

    ``serving``: the code whose frame serves a request. ``on_late``: called in the thread of the watch each time the
    loop does not answer in time. ``on_blocked``: called there when it answers again.
    """

    def __init__(
        self,
        serving: Collection[CodeType],
        is_busy: Callable[[], bool],
        on_late: Callable[[], None],
        on_blocked: Callable[[BlockedLoop], None],
    ) -> None:
        self._serving = serving
        self._is_busy = is_busy
        self._on_late = on_late
        self._on_blocked = on_blocked
        self.thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._answered = threading.Event()
        self._answered_ns = 0
        _watches.add(self)

    def start(self) -> None:
        """Start the thread. Must be called in the event loop while it is busy."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            return
        with self._starting:
            if self.thread is None:
                self.thread = threading.Thread(
                    target=self._watch, args=[loop, _LoopThread()], name="fastbg loop watch", daemon=True
                )
                self.thread.start()

    def close(self) -> None:
        """End the thread, and wait for its end."""
        self._closing.set()
        thread = self.thread
        if thread is not None:
            thread.join()

    def forget_thread(self) -> None:
        """Must be called in a forked process, which does not have the thread."""
        self.thread, self._starting = None, threading.Lock()

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: "_LoopThread") -> None:
        """Ask as long as requests are open, until none was open for `IDLE_S`, or the loop is closed.

        A new request does not wake this thread: that would cost two switches between threads per turn of the loop, a
        tenth of the throughput of a small app.
        """
        idle_s = 0.0
        while not self._closing.wait(ASK_S) and not loop.is_closed():
            if self._is_busy():
                idle_s = 0.0
                self._ask(loop, loop_thread)
            elif (idle_s := idle_s + ASK_S) >= IDLE_S and self._is_over():
                return
        self.thread = None

    def _is_over(self) -> bool:
        """Give up the thread, unless a request comes in this moment."""
        with self._starting:
            self.thread = None
            if self._is_busy():
                self.thread = threading.current_thread()
            return self.thread is None

    def _ask(self, loop: asyncio.AbstractEventLoop, loop_thread: "_LoopThread") -> None:
        self._answered.clear()
        asked_ns, cpu_ns = monotonic_ns(), loop_thread.cpu_ns()
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(self._answer)
        if self._answered.wait(BLOCKED_NS / 1e9):
            return
        self._on_late()
        took_ns = monotonic_ns() - asked_ns
        # If this thread was late as well, the process had no processor, and the frames show another moment.
        if took_ns > 2 * BLOCKED_NS or loop_thread.lacks_processor(took_ns, loop_thread.cpu_ns() - cpu_ns):
            found = None
        else:
            found = self._look(sys._current_frames().get(loop_thread.ident))
        while not self._answered.wait(ASK_S):
            if loop.is_closed() or self._closing.is_set():
                return
        if found is not None:
            place, variables = found
            self._on_blocked(BlockedLoop(place, variables, (self._answered_ns - asked_ns) / 1e6))

    def _answer(self) -> None:
        self._answered_ns = monotonic_ns()
        self._answered.set()

    def _look(self, innermost: FrameType | None) -> tuple[str, dict[str, Any]] | None:
        """Return the place in the user's code, and the variables of the serving frame; None outside of such code."""
        frames: list[FrameType] = []
        variables: dict[str, Any] = {}
        for frame in outwards(innermost):
            if frame.f_code is _TASK_STEP:
                return None
            if frame.f_code.co_filename.endswith(_OF_THE_LOOP):
                break
            if frame.f_code in self._serving:
                variables = dict(frame.f_locals)
            frames.append(frame)
        place = place_of(frames[::-1], runs=True)
        return None if place is None else (place, variables)


_watches: "weakref.WeakSet[LoopWatch]" = weakref.WeakSet()


def _forget_threads() -> None:
    for watch in list(_watches):
        watch.forget_thread()


os.register_at_fork(after_in_child=_forget_threads)
