"""SIGINT and SIGTERM for a command that writes a stream of lines: they end it between two lines."""

import select
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Self

GRACE_S = 0.5  # for a line that is being written when a signal comes


class NobodyReadsError(Exception):
    """A signal asked for the end, and `GRACE_S` later nobody reads the line that is being written."""


class StopSignals:
    """Notes SIGINT and SIGTERM, as a context manager.

    ``code``: the exit code once a signal has come, else 0. ``wake``: called then, in the main thread.
    Raises `NobodyReadsError` in the main thread where the output takes nothing more after a signal.
    """

    def __init__(self) -> None:
        self.code = 0
        self.wake: Callable[[], object] = lambda: None
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGINT, self._ask),
            (signal.SIGTERM, self._ask),
            (signal.SIGALRM, self._insist),
        ):
            self._restore.callback(signal.signal, number, signal.signal(number, handler))
        self._restore.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.code = 128 + number
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        self.wake()

    def _insist(self, _number: int, _frame: FrameType | None) -> None:
        if not select.select([], [sys.stdout], [], 0)[1]:
            raise NobodyReadsError
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # the output takes more: only the machine is slow
