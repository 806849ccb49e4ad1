"""The second Ctrl-C, and the end of the terminal, in a process that serves or supervises."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


def on_second_interrupt(act: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
    """Call ``act`` on a SIGINT that follows a first SIGINT or SIGTERM; the first one goes to its former handler.

    ``begin`` is called on the first one, in the signal handler. SIGHUP, which a closing terminal sends, counts as
    SIGTERM, unless it is ignored, as under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # an embedded server, which no signal reaches
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
