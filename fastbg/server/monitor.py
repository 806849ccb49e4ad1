"""Watches a server process: when it is ready, what it writes, when and why it ends."""

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from fastbg.clock import monotonic
from fastbg.errors import ServerDied, ServerError
from fastbg.server.address import Address
from fastbg.server.process import EXIT_S, FINISHED, READY, ServerProcess
from fastbg.server.starting import PAUSE_S, READY_S

LINES = 200  # of the server's output that are kept
LINE_BYTES = 2000  # of each of them
LEFT_S = 0.2  # between two looks at a process that has not closed its status
CONNECT_S = 0.02  # timeout of an attempt to connect to a server that may not listen yet, and the pause after it
MAX_READS = 16  # of 64 KiB in sequence: a server may write faster than this process reads


class ServerMonitor:
    """Watches the server process ``child``: ``async with ServerMonitor(child) as server``.

    At the end of the block the server receives its stop signal, and has ``stop_s`` seconds to finish. After an error or
    a Ctrl-C it has 0.5 s. `ServerProcess` then kills it.

    ``on_output`` receives all output of the server, in pieces as it arrives.
    """

    def __init__(
        self, child: ServerProcess, *, stop_s: float = 10.0, on_output: Callable[[bytes], None] | None = None
    ) -> None:
        self._child = child
        self.stop_s = stop_s
        self._on_output = on_output
        self._lines: deque[str] = deque(maxlen=LINES)
        self._rest = b""
        self._status = b""
        self._has_status = asyncio.Event()
        self._has_closed = asyncio.Event()  # its status, at its end or by mistake

    @property
    def url(self) -> str:
        return self._child.url

    @property
    def pid(self) -> int:
        return self._child.process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, None while the process runs."""
        return self._child.process.poll()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._child.output, self._read_output)
        loop.add_reader(self._child.status, self._read_status)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.stop(self.stop_s if kind is None else 0.5)
        finally:
            self._read_output()
            for descriptor in (self._child.output, self._child.status):
                asyncio.get_running_loop().remove_reader(descriptor)

    async def ready(self, timeout: float = READY_S) -> None:  # noqa: ASYNC109  # the error shows it
        """Wait until the app has started. Raises `ServerDied` if the process ends, `ServerError` after ``timeout``."""
        try:
            async with asyncio.timeout(timeout):
                await self._has_status.wait()
                if not self._status.startswith(READY):
                    raise await self.died()
        except TimeoutError:
            raise ServerError(
                f"the server did not start up within {timeout:g} s",
                where=self._child.settings.name,
                remedy="find the code that blocks its startup",
            ) from None

    async def listening(self, timeout: float = READY_S) -> None:  # noqa: ASYNC109  # the error shows it
        """Wait until the port accepts connections. Raises `ServerDied`, `ServerError` after ``timeout``."""
        address, end = Address.parse(self.url), monotonic() + timeout
        while True:
            try:
                address.connect(CONNECT_S).close()
            except OSError:
                if self.returncode is not None:
                    raise await self.died() from None
                if monotonic() > end:
                    raise ServerError(
                        f"the server did not listen on its port within {timeout:g} s",
                        where=self._child.settings.name,
                        remedy="use ${port} as the port of the command, and find the code that blocks its startup",
                    ) from None
                await asyncio.sleep(CONNECT_S)
            else:
                return

    async def died(self) -> ServerDied:
        """Wait until the process has ended, and return the reason."""
        while (code := self.returncode) is None:
            await self._pause()
        self._read_status()
        self._read_output()
        first, *_ = self._status.splitlines(keepends=True) or [READY]
        if first.endswith(b"\n") and first not in (READY, FINISHED):
            return ServerDied(**json.loads(first), stderr=self.stderr_tail())
        return ServerDied(
            f"the server {_ending(code)}",
            where=self._child.settings.name,
            remedy="let the command serve until a signal, not as a daemon"
            if code == 0 and self._child.settings.command
            else "read the last lines of its output",
            stderr=self.stderr_tail(),
        )

    async def failure(self) -> ServerError:
        """Return why the server does not respond: it has ended, or it hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_S):
                return await self.died()
        return ServerError(
            "the server runs, but does not respond",
            where=f"{self._child.settings.name} at {self.url}",
            remedy="find the code that blocks its event loop or its startup",
        )

    def send(self, number: signal.Signals) -> None:
        self._child.process.send_signal(number)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  # a timeout is not an error here
        """Send the signal that stops the server, and wait up to ``timeout`` s until tasks and threads have finished."""
        if self.returncode is None:
            self.send(self._child.stop_signal)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._status.endswith(FINISHED) and self.returncode is None:
                    await self._pause()

    async def _pause(self) -> None:
        """Wait a moment for the end of the process."""
        if self._has_closed.is_set():
            await asyncio.sleep(PAUSE_S)  # it exits within milliseconds, if it has not closed its status by mistake
        else:  # a process that it has left behind may keep it open
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_closed.wait(), LEFT_S)

    def stderr_tail(self) -> list[str]:
        """Return the last lines that were read from the server's standard output and error."""
        return [*self._lines, *([_text(self._rest)] if self._rest else [])]

    def discard_output(self) -> None:
        self._read_output()
        self._lines.clear()
        self._rest = b""

    def read_stderr_tail(self) -> list[str]:
        """Read the output so far, and return `stderr_tail`."""
        self._read_output()
        return self.stderr_tail()

    def _read_output(self) -> None:
        self._read(self._child.output, self._add_output)

    def _read_status(self) -> None:
        self._read(self._child.status, self._add_status)

    def _read(self, descriptor: int, add: Callable[[bytes], None]) -> None:
        """Pass the available bytes to ``add``, and b"" at the end of file. Never waits."""
        with suppress(BlockingIOError):
            for _ in range(MAX_READS):
                data = os.read(descriptor, 65536)
                add(data)
                if not data:
                    asyncio.get_running_loop().remove_reader(descriptor)
                    return

    def _add_output(self, data: bytes) -> None:
        if self._on_output is not None:
            self._on_output(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._lines.extend(map(_text, lines))
        self._rest = rest[:LINE_BYTES]

    def _add_status(self, data: bytes) -> None:
        self._status += data
        if self._status.endswith(b"\n") or not data:
            self._has_status.set()
        if not data or self._status.endswith(FINISHED):
            self._has_closed.set()


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].decode("utf-8", "replace")


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
