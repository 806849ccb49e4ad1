"""SIGINT and SIGTERM for a command that writes a stream of lines: it ends between two lines."""

import select
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Self

GRACE_S = 0.5  # for writing the current line after a signal


class OutputBlockedError(Exception):
    """`GRACE_S` after a signal, standard output still accepts no data: its reader does not read."""


class StopSignals:
    """Records SIGINT and SIGTERM, as a context manager.

    ``code``: the exit code after a signal, else 0. ``wake``: called in the main thread on a signal.
    Raises `OutputBlockedError` in the main thread if standard output stays blocked after a signal.
    """

    def __init__(self) -> None:
        self.code = 0
        self.wake: Callable[[], object] = lambda: None
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGINT, self._stop),
            (signal.SIGTERM, self._stop),
            (signal.SIGALRM, self._check_output),
        ):
            self._restore.callback(signal.signal, number, signal.signal(number, handler))
        self._restore.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.code = 128 + number
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        self.wake()

    def _check_output(self, _number: int, _frame: FrameType | None) -> None:
        if not select.select([], [sys.stdout], [], 0)[1]:
            raise OutputBlockedError
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # the output accepts data: the machine is only slow
