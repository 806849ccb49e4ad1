"""Watches a server that runs as a child process: whether it is ready, what it writes, when and why it ends."""

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from fastbg.errors import ServerDied, ServerError
from fastbg.server.process import LAST_MOMENT_S, READY, ServerProcess
from fastbg.server.starting import READY_S

LINES = 200  # of the server's output are kept,
LINE_BYTES = 2000  # each up to this long


class ServerMonitor:
    """``async with ServerMonitor(child) as server``: watches ``child``, and lets it drain for ``stop_s`` seconds.

    On an error (Ctrl-C, say) it is asked to end and not waited for: what then still runs is killed with the child.
    """

    def __init__(self, child: ServerProcess, *, stop_s: float = 10.0) -> None:
        self._child = child
        self.stop_s = stop_s
        self._lines: deque[str] = deque(maxlen=LINES)
        self._rest = b""
        self._word = b""
        self._told = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def url(self) -> str:
        return self._child.url

    @property
    def pid(self) -> int:
        return self._child.process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None as long as it runs."""
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
            for descriptor in (self._child.output, self._child.status):
                asyncio.get_running_loop().remove_reader(descriptor)

    async def ready(self, timeout: float = READY_S) -> None:  # noqa: ASYNC109  # it is told in the error
        """Wait until the app has started up. Raises `ServerDied` if it ends instead, or `ServerError`."""
        try:
            async with asyncio.timeout(timeout):
                await self._told.wait()
        except TimeoutError:
            raise ServerError(
                f"the server did not start up within {timeout:g} s",
                where=self._child.settings.app,
                remedy="look for what blocks in its startup",
            ) from None
        if self._word != READY:
            raise await self.died()

    async def died(self) -> ServerDied:
        """Wait until the child has ended, and say why."""
        await self._ended.wait()
        code = self._child.process.wait()  # it is on its way out: a matter of milliseconds
        self._read_output()
        if self._word.endswith(b"\n") and self._word != READY:
            return ServerDied(**json.loads(self._word), stderr=self.stderr_tail())
        return ServerDied(
            f"the server {_ending(code)}",
            where=self._child.settings.app,
            remedy="see what it wrote last",
            stderr=self.stderr_tail(),
        )

    async def failure(self) -> ServerError:
        """Why the server does not answer: it has died, or it hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_MOMENT_S):
                return await self.died()
        return ServerError(
            "the server runs, but does not answer",
            where=f"{self._child.settings.app} at {self.url}",
            remedy="look for what blocks its event loop or its startup",
        )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.process.send_signal(number)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  # what comes after it is the point
        """SIGINT, which lets running tasks and threads finish, and up to ``timeout`` seconds for that."""
        if self.returncode is None:
            self.send(signal.SIGINT)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()

    def stderr_tail(self) -> list[str]:
        """The last lines that the child wrote to standard error or output."""
        return [*self._lines, *([_text(self._rest)] if self._rest else [])]

    def forget_output(self) -> None:
        """What the child wrote until now is not told any more."""
        self._read_output()
        self._lines.clear()
        self._rest = b""

    def last_words(self) -> list[str]:
        """`stderr_tail`, with what the child has written and nobody has read yet."""
        self._read_output()
        return self.stderr_tail()

    def _read_output(self) -> None:
        self._read(self._child.output, self._keep)

    def _read_status(self) -> None:
        self._read(self._child.status, self._hear)

    def _read(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        """Take what there is, and b"" at the end; never waits."""
        with suppress(BlockingIOError):
            while data := os.read(descriptor, 65536):
                take(data)
            asyncio.get_running_loop().remove_reader(descriptor)
            take(b"")

    def _keep(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._lines.extend(map(_text, lines))
        self._rest = rest[:LINE_BYTES]

    def _hear(self, data: bytes) -> None:
        self._word += data
        if self._word.endswith(b"\n") or not data:
            self._told.set()
        if not data:  # the child closes it last of all
            self._ended.set()


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].decode("utf-8", "replace")


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
