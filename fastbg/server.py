"""A server as a child process: started, watched, drained and reaped."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from fastbg.errors import ServerDied, ServerError
from fastbg.serving import READY, Settings, bind, url_of

LINES = 200  # of the server's output are kept,
LINE_BYTES = 2000  # each up to this long
LAST_MOMENT_S = 2.0  # how long a server that answers no more may take to end


class Server:
    """``async with Server(settings) as server``: starts it on a free port of ``host``, and stops it at the end.

    The child inherits a socket that listens already: a request may be sent at once, it is answered when the app
    has started up. ``ready_s``, ``stop_s``: seconds that starting up and draining may take.
    The child also ends when this process dies, be it by SIGKILL.
    """

    def __init__(
        self, settings: Settings, *, host: str = "127.0.0.1", ready_s: float = 30.0, stop_s: float = 10.0
    ) -> None:
        self.url = ""
        self._settings = settings
        self._host = host
        self._ready_s = ready_s
        self._stop_s = stop_s
        self._process: asyncio.subprocess.Process
        self._lifeline = -1  # the child's standard input, at whose end it ends
        self._output = _Pipe(self._keep)
        self._status = _Pipe(self._hear)
        self._lines: deque[str] = deque(maxlen=LINES)
        self._rest = b""
        self._word = b""
        self._heard = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None as long as it runs."""
        return self._process.returncode

    async def __aenter__(self) -> Self:
        """Start the child; it does not wait for it (`ready` does). Raises `ServerError` if no port is to be had."""
        listener = bind(self._host, 0)
        self.url = url_of(listener)
        child_input, self._lifeline = os.pipe()
        output, status = self._output.open(), self._status.open()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "fastbg.serving", str(listener.fileno()), str(status)),
                stdin=child_input,
                stdout=output,
                stderr=output,
                pass_fds=(listener.fileno(), status),
                env=os.environ | self._settings.environment(),
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            listener.close()  # so that a dead child means a refused connection
            for descriptor in (child_input, output, status):
                os.close(descriptor)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def ready(self) -> None:
        """Wait until the app has started up. Raises `ServerDied` if it ends instead, `ServerError` if it takes too long."""
        try:
            async with asyncio.timeout(self._ready_s):
                await self._heard.wait()
                if self._word != READY:
                    raise await self.died()
        except TimeoutError:
            raise ServerError(
                f"the server did not start up within {self._ready_s:g} s",
                where=self._settings.app,
                remedy="look for what blocks in its startup" + "".join(f"\n{line}" for line in self.stderr_tail()),
            ) from None

    async def died(self) -> ServerDied:
        """Wait until the child has ended, and say why."""
        await self._process.wait()
        self._output.read()
        self._status.read()
        if self._word.endswith(b"\n") and self._word != READY:
            return ServerDied(**json.loads(self._word), stderr=self.stderr_tail())
        return ServerDied(
            f"the server {_ending(self._process.returncode or 0)}",
            where=self._settings.app,
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
            where=f"{self._settings.app} at {self.url}",
            remedy="look for what blocks its event loop or its startup",
        )

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # what comes after it is the point
        """SIGTERM, which lets running tasks finish; after ``timeout`` seconds (``stop_s``) SIGKILL. Always reaps."""
        try:
            if self.returncode is None:
                self._process.terminate()
            async with asyncio.timeout(self._stop_s if timeout is None else timeout):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, if it still runs; what was going on is lost."""
        if self.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)  # it leads a session of its own
        await self._process.wait()
        self._close()

    def stderr_tail(self) -> list[str]:
        """The last lines that the child wrote to standard error or output."""
        return [*self._lines, *([_text(self._rest)] if self._rest else [])]

    def _keep(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._lines.extend(map(_text, lines))
        self._rest = rest[:LINE_BYTES]

    def _hear(self, data: bytes) -> None:
        self._word += data
        if not data or data.endswith(b"\n"):
            self._heard.set()

    def _close(self) -> None:
        self._output.close()
        self._status.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


class _Pipe:
    """A pipe that a child writes to; ``take`` gets what comes out of it, and b"" at its end."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._fd = -1

    def open(self) -> int:
        """The end for the child."""
        self._fd, child = os.pipe()
        os.set_blocking(self._fd, False)
        asyncio.get_running_loop().add_reader(self._fd, self.read)
        return child

    def read(self) -> None:
        """Take what is there; never waits."""
        with suppress(BlockingIOError):
            while self._fd >= 0:
                data = os.read(self._fd, 65536)
                self._take(data)
                if not data:
                    self.close()

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].decode("utf-8", "replace")


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
