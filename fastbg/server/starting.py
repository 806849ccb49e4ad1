"""Waiting for a process to start or to end."""

import subprocess
from collections.abc import Callable, Generator

from fastbg.clock import monotonic
from fastbg.errors import ServerError

READY_S = 30.0  # how long a process may take to be ready, or to end after a signal
PAUSE_S = 0.01


def pauses(
    is_reached: Callable[[], bool], failure: ServerError, process: "subprocess.Popen[bytes] | None" = None
) -> Generator[float, None, None]:
    """Yield the seconds to sleep before the next check, until ``is_reached()``.

    Raises ``failure`` after `READY_S`, or when ``process`` has ended.
    """
    end = monotonic() + READY_S
    while not is_reached():
        if (process is not None and process.poll() is not None) or monotonic() > end:
            raise failure
        yield PAUSE_S
