"""Signal handlers of server and supervisor processes: the second Ctrl-C, and a closed terminal."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


def on_second_interrupt(act: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
    """Call ``act`` on a SIGINT that follows a first SIGINT or SIGTERM. The first signal goes to its former handler.

    The first signal then calls ``begin``, in the signal handler. SIGHUP, which a closed terminal sends, is handled like
    SIGTERM. It stays ignored if it was ignored before, for example under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python runs signal handlers only in the main thread
    former: dict[int, Any] = {}
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        is_first, stopping = not stopping, True
        if number == signal.SIGINT and not is_first:
            act()
        number = signal.SIGTERM if number == signal.SIGHUP else number
        if callable(former[number]):
            former[number](number, frame)
        if is_first:
            # Last, because it takes a while: a SIGTERM meanwhile, as supervisors send it after a Ctrl-C, must reach
            # uvicorn after the SIGINT. To uvicorn, a SIGINT that follows it is a second Ctrl-C.
            begin()

    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
