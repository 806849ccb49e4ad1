"""Ends a process after its parent has ended, even by SIGKILL."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

ORPHAN_S = 10.0  # how long a process may take to exit after its parent has ended

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def end_with(descriptor: int) -> None:
    """End this process when ``descriptor`` reaches its end of file.

    ``descriptor``: the read end of a pipe. Only the parent has the write end, which closes when the parent ends. The
    process then receives SIGTERM, and exits with 1 if it still runs after `ORPHAN_S` seconds.
    """
    threading.Thread(target=_follow, args=(descriptor,), daemon=True).start()


def _follow(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_S)
    os._exit(1)


def death_signal() -> Callable[[], None] | None:
    """Return a ``preexec_fn`` for other programs, which cannot call `end_with`; None if not on Linux.

    The kernel sends SIGTERM to the program when the thread that started it has ended.
    """
    if sys.platform != "linux":
        return None
    import ctypes  # not in the child: another thread may have held the import lock at the fork

    prctl = ctypes.CDLL(None).prctl

    def request() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return request
