"""Signal handlers of server and supervisor processes: the second Ctrl-C, and a closed terminal."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


def on_second_interrupt(act: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
    """Call ``act`` on a SIGINT that follows a first SIGINT or SIGTERM. The first signal goes to its former handler.

    The first signal also calls ``begin``, in the signal handler. SIGHUP, which a closed terminal sends, is handled like
    SIGTERM. It stays ignored if it was ignored before, for example under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python runs signal handlers only in the main thread
    former: dict[int, Any] = {}
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            act()
        if not stopping:
            begin()
        stopping = True
        number = signal.SIGTERM if number == signal.SIGHUP else number
        if callable(former[number]):
            former[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
