"""The live view on a terminal, and the pauses of ``--step``."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from fastbg.clock import monotonic_ns
from fastbg.evidence.results import RunResult
from fastbg.report.console import heading, live
from fastbg.report.keyboard import END, ENTER, Keyboard
from fastbg.report.pauses import announcement, keys, plan
from fastbg.report.timelines import timelines
from fastbg.run.stepping import Action, Pause, Step

FRAMES_PER_SECOND = 12
SWITCH_INTERVAL_S = 0.0005  # maximum delay of the main thread's timestamps by the drawing thread


class Screen:
    """The live view of a run, as a context manager. It draws only on a terminal.

    ``result`` returns the run as it is now. ``source_of`` returns what the key s shows of a step. ``progress`` returns
    the numbers of all, answered and finished requests; if set, two progress bars are drawn instead of the run. A thread
    draws, so that drawing does not delay the time at which a write is seen.
    """

    def __init__(
        self,
        console: Console,
        result: Callable[[], RunResult],
        source_of: Callable[[Step], RenderableType],
        *,
        step: bool,
        progress: Callable[[], tuple[int, int, int]] | None = None,
    ) -> None:
        self._console = console
        self._result = result
        self._source_of = source_of
        self._step = step
        self._progress = progress
        self._bars = Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._answered = self._bars.add_task("answered", total=None)
        self._finished = self._bars.add_task("finished", total=None)
        self._live: Live | None = None
        self._keyboard = Keyboard()
        self._stack = ExitStack()
        self._switch_interval = sys.getswitchinterval()
        self._printed = 0  # requests whose bars were printed at a pause

    def __enter__(self) -> Self:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        if self._step:
            self._stack.enter_context(self._keyboard)
        else:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._stack.close()
        sys.setswitchinterval(self._switch_interval)

    async def pause(self, pause: Pause) -> Action:
        """Print the bars since the last pause, and the next step. Wait for a key that says what to do."""
        self._stop()
        result = self._result()
        if pause.number:
            self._console.print(self._latest(result, now_ns=None), Text(), sep="\n")
            self._printed = len(result.requests)
        else:
            self._console.print(*heading(result), plan(pause), Text(), sep="\n")
        self._console.print(*announcement(pause), sep="\n")
        action = await self._action(pause)
        self._console.print()
        self._start()
        return action

    async def _action(self, pause: Pause) -> Action:
        """Read keys until one of them ends the pause."""
        while True:
            self._console.print(keys(pause))
            key = await self._keyboard.key()
            step = pause.next or pause.last
            if key == "s" and step is not None:
                self._console.print(self._source_of(step))
            elif key == "r" and pause.last is not None:
                return Action.REPEAT
            elif key == "q":
                return Action.QUIT
            elif key in (ENTER, END):
                return Action.CONTINUE

    def _start(self) -> None:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=FRAMES_PER_SECOND,
                screen=not self._step,  # after a change of its size, the terminal may have moved the lines of a frame
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            if not self._step:  # otherwise some terminals keep the frame if their size has changed
                self._console.control(Control.clear(), Control.home())
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        if self._progress is not None:
            total, answered, finished = self._progress()
            self._bars.update(self._answered, total=total, completed=answered)
            self._bars.update(self._finished, total=total, completed=finished)
            return self._bars.get_renderable()
        now_ns = monotonic_ns()
        if self._step:
            return self._latest(self._result(), now_ns)
        return live(self._result(), encoding=self._console.encoding, now_ns=now_ns)

    def _latest(self, result: RunResult, now_ns: int | None) -> RenderableType:
        latest = replace(result, requests=result.requests[self._printed :]).representatives
        return Group(timelines(latest, encoding=self._console.encoding, now_ns=now_ns))
