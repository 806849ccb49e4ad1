"""The live view on a terminal, and the pauses of ``--step``."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from fastbg.evidence.results import RunResult
from fastbg.report.console import live
from fastbg.report.timelines import timelines
from fastbg.text import escape_control

FRAMES_PER_SECOND = 12
SWITCH_INTERVAL_S = 0.0005  # maximum delay of the main thread's timestamps by the drawing thread


class Screen:
    """The live view of a run, as a context manager. It draws only on a terminal.

    ``result`` returns the run as it is now. ``progress`` returns the numbers of all, answered and finished requests;
    if set, two progress bars are drawn instead of the run. A thread draws, so that drawing does not delay the time at
    which a write is seen.
    """

    def __init__(
        self,
        console: Console,
        result: Callable[[], RunResult],
        *,
        step: bool,
        progress: Callable[[], tuple[int, int, int]] | None = None,
    ) -> None:
        self._console = console
        self._result = result
        self._step = step
        self._progress = progress
        self._bars = Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._answered = self._bars.add_task("answered", total=None)
        self._finished = self._bars.add_task("finished", total=None)
        self._live: Live | None = None
        self._switch_interval = sys.getswitchinterval()
        self._printed = 0  # requests whose bars were printed at a pause

    def __enter__(self) -> Self:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        if not self._step:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        sys.setswitchinterval(self._switch_interval)

    async def pause(self, name: str, about: str) -> None:
        """Print the bars since the last pause and the next request. Then wait for Enter or the end of input."""
        self._stop()
        result = self._result()
        if result.requests:
            self._console.print(self._latest(result, now_ns=None), Text(), sep="\n")
            self._printed = len(result.requests)
        self._console.print(
            Text.assemble((escape_control(name), "bold"), ": ", escape_control(about)),
            Text("Press Enter to send this request", style="dim"),
        )
        await _enter()
        self._start()

    def _start(self) -> None:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        if self._progress is not None:
            total, answered, finished = self._progress()
            self._bars.update(self._answered, total=total, completed=answered)
            self._bars.update(self._finished, total=total, completed=finished)
            return self._bars.get_renderable()
        now_ns = time.monotonic_ns()
        if self._step:
            return self._latest(self._result(), now_ns)
        return live(self._result(), encoding=self._console.encoding, now_ns=now_ns)

    def _latest(self, result: RunResult, now_ns: int | None) -> RenderableType:
        latest = replace(result, requests=result.requests[self._printed :]).representatives
        return Group(timelines(latest, encoding=self._console.encoding, now_ns=now_ns))


async def _enter() -> None:
    """Wait for Enter or the end of standard input. The waiting thread is a daemon, so Ctrl-C does not wait for it.

    The thread reads the descriptor: a thread that holds the lock of a stream would block the interpreter's exit.
    """
    loop, entered = asyncio.get_running_loop(), asyncio.Event()
    keyboard = -1 if sys.stdin is None else sys.stdin.fileno()

    def wait() -> None:
        with suppress(OSError):  # the terminal is closed or missing
            while os.read(keyboard, 1) not in (b"\n", b""):
                pass
        with suppress(RuntimeError):  # the run has already ended
            loop.call_soon_threadsafe(entered.set)

    threading.Thread(target=wait, name="fastbg-enter", daemon=True).start()
    await entered.wait()
