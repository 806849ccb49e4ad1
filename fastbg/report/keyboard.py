"""The keyboard during ``--step``: single keys on a terminal, lines from anything else."""

import asyncio
import os
import signal
import sys
import termios
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

END = "\x04"  # Ctrl-D, and the end of the input
ENTER = "\n"


class Keyboard:
    """Standard input as a source of keys, as a context manager.

    On a terminal, a key needs no Enter and is not echoed. Outside of the context, while the process is stopped with
    Ctrl-Z, and in the background the terminal is as before. Ctrl-C keeps its meaning.
    """

    def __init__(self) -> None:
        self._input = -1
        self._original: list[Any] | None = None  # attributes of the terminal, see `termios`; None without a terminal
        self._handlers: dict[int, Any] = {}  # the former handlers of signals, as `signal.signal` returns them

    def __enter__(self) -> Self:
        self._input = -1 if sys.stdin is None else sys.stdin.fileno()
        with suppress(OSError, termios.error):  # no terminal, a closed one, or that of another session
            os.tcgetpgrp(self._input)
            self._original = termios.tcgetattr(self._input)
        if self._original is not None:
            self._take()
            for number, handler in ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._continue)):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give_back()

    async def key(self) -> str:
        """Wait for a key and return it: `ENTER`, `END`, or a character in lower case.

        Without a terminal, return the first character of the next line. The waiting thread is a daemon, so Ctrl-C does
        not wait for it. It reads the descriptor: a thread that holds the lock of a stream would block the
        interpreter's exit.
        """
        loop, typed = asyncio.get_running_loop(), asyncio.Event()
        key = END

        def read() -> None:
            nonlocal key
            key = self._read_key() if self._original is not None else self._read_line()
            with suppress(RuntimeError):  # the run has already ended
                loop.call_soon_threadsafe(typed.set)

        threading.Thread(target=read, name="fastbg-keyboard", daemon=True).start()
        await typed.wait()
        return key

    def _read_key(self) -> str:
        key = self._read(1)
        if key >= b"\x7f" or key == b"\x1b":  # of several bytes, such as an arrow key
            with suppress(termios.error):
                termios.tcflush(self._input, termios.TCIFLUSH)
        return _key(key)

    def _read_line(self) -> str:
        line = b""
        while (byte := self._read(1)) not in (b"\n", b""):
            line += byte
        return _key(line.strip()[:1] or byte)

    def _read(self, size: int) -> bytes:
        with suppress(OSError):  # the terminal is closed or missing
            return os.read(self._input, size)
        return b""

    def _take(self) -> None:
        """Switch the terminal to single keys without echo."""
        if self._original is not None:
            *flags, characters = self._original
            flags[3] &= ~(termios.ICANON | termios.ECHO)
            characters = [*characters]
            characters[termios.VMIN], characters[termios.VTIME] = 1, 0
            self._set([*flags, characters])

    def _give_back(self) -> None:
        if self._original is not None:
            self._set(self._original)

    def _set(self, attributes: list[Any]) -> None:
        with suppress(OSError, termios.error):  # the terminal is closed
            if os.tcgetpgrp(self._input) == os.getpgrp():  # a process in the background would be stopped
                termios.tcsetattr(self._input, termios.TCSANOW, attributes)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Give the terminal back and stop, as a process without this handler does."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # returns when the process continues
        signal.signal(number, self._stop)
        self._take()

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._take()


def _key(data: bytes) -> str:
    return {b"": END, b"\r": ENTER}.get(data, data.decode("ascii", "replace").lower())
