"""The server that a run asks: one of ours, started for a part of the script, or one that runs already."""

import asyncio
import signal
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fastbg.errors import ServerError
from fastbg.evidence.observer import Observer
from fastbg.server.monitor import ServerMonitor
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastbg.run.client import Client

STOP_S = 2.0  # how long our server may take to end; what still runs by then was given up before


class TargetServer:
    """``async with TargetServer(observer, child) as server``: nothing of it is left at the end.

    ``child``: a process that was started already. ``client``: None while there is no server. ``stopped``: why our
    server ended by itself, ``stderr``: what it wrote last.
    """

    def __init__(self, observer: Observer, child: ServerProcess | None) -> None:
        self.client: Client | None = None
        self.stopped: str | None = None
        self.stderr: list[str] = []
        self.child = child
        self._observer = observer
        self._monitor: ServerMonitor | None = None
        self._sent: str | None = None  # the signal that the script sent
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, AsyncExitStack()
        self._monitor = self.client = None
        await stack.__aexit__(kind, error, traceback)

    @property
    def gone(self) -> str | None:
        """Why the server serves no more, None while it may."""
        if self.stopped or self._monitor is None or self._monitor.returncode is None:
            return self.stopped
        return self._told_to_end

    @property
    def refuses(self) -> str | None:
        """Why no more requests are to be sent, None while they may be."""
        return self.gone or self._told_to_end

    @property
    def _told_to_end(self) -> str | None:
        return f"the script sent the server {self._sent}" if self._sent else None

    def serves(self, wanted: ServerSettings) -> bool:
        """Whether it runs with these settings."""
        running = self._monitor is not None and self._monitor.returncode is None and not self._sent
        return running and self.child is not None and self.child.settings == wanted

    async def connect(self, url: str) -> "Client":
        """Ask the server at ``url``, which is not ours."""
        from fastbg.run.client import Client

        self.client = await self._stack.enter_async_context(Client(url, self._observer.file_sizes))
        return self.client

    async def start(self, wanted: ServerSettings, group: asyncio.TaskGroup) -> "Client":
        """Start a server of ours; a task in ``group`` notices its end."""
        if self.child is None or self.child.settings != wanted or self.child.process.poll() is not None:
            self.child = self._stack.enter_context(ServerProcess(wanted))
        self._sent = None
        self._monitor = await self._stack.enter_async_context(ServerMonitor(self.child, stop_s=STOP_S))
        client = await self.connect(self._monitor.url)
        noticing = group.create_task(self._notice_end(self._monitor))
        self._stack.callback(noticing.cancel)
        return client

    async def stop(self) -> None:
        """Let it end; nothing of it is left."""
        await self.__aexit__(None, None, None)

    async def failure(self) -> ServerError:
        """Why our server does not answer."""
        assert self._monitor is not None  # noqa: S101  # asked of a server of ours
        return await self._monitor.failure()

    def send(self, number: signal.Signals) -> None:
        """Send our server a signal, which will end it."""
        if self._monitor is not None and not self.gone:
            self._sent = number.name
            self._monitor.send(number)

    async def _notice_end(self, monitor: ServerMonitor) -> None:
        error = await monitor.died()
        await self._observer.read_all()
        if not self._sent:
            self.stopped = error.what
            self.stderr = error.stderr
        self._observer.wake()
