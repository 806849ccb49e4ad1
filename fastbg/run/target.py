"""The server under test: a child process started for a part of the script, or a server that already runs."""

import asyncio
import signal
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fastbg.errors import ServerError
from fastbg.evidence.observer import Observer
from fastbg.server.command import process_of
from fastbg.server.log_file import ServerLog
from fastbg.server.monitor import ServerMonitor
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastbg.run.client import Client

END_S = 0.2  # how long the end of a server process may take to show after it refused a connection
STOP_S = 2.0  # timeout for the end of our server; the runner has already given up tasks that still run


class TargetServer:
    """The server under test. Use it as ``async with TargetServer(observer, child) as server``; it stops on exit.

    ``child``: a process that was already started. ``log``: keeps the output of our servers. ``client``: None while no
    server runs. ``stopped``: why a server of ours ended by itself, the first one that did. ``stderr``: the last lines
    that it wrote there.
    """

    def __init__(self, observer: Observer, child: ServerProcess | None, log: ServerLog | None = None) -> None:
        self.client: Client | None = None
        self.stopped: str | None = None
        self._died: str | None = None  # why the present server ended by itself
        self.stderr: list[str] = []
        self.child = child
        self._observer = observer
        self._on_output = None if log is None else log.write
        self._monitor: ServerMonitor | None = None
        self._watching: asyncio.Task[None] | None = None
        self._sent_signal: str | None = None  # name of the signal that the script sent
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
        """Why the server has ended, or None if it may still run."""
        if self._died or self._monitor is None or self._monitor.returncode is None:
            return self._died
        return self._signal_reason

    @property
    def refusal(self) -> str | None:
        """Why no more requests can be sent, or None."""
        return self.gone or self._signal_reason

    @property
    def _signal_reason(self) -> str | None:
        return f"the script sent {self._sent_signal} to the server" if self._sent_signal else None

    def serves(self, wanted: ServerSettings) -> bool:
        """Whether the server runs with these settings."""
        running = self._monitor is not None and self._monitor.returncode is None and not self._sent_signal
        return running and self.child is not None and self.child.settings == wanted

    @property
    def has_exited(self) -> bool:
        """Whether the process of our server has ended, for whatever reason."""
        return self._monitor is not None and self._monitor.returncode is not None

    def has_died(self, wanted: ServerSettings) -> bool:
        """Whether the server with these settings ran, and has ended by itself."""
        return self._died is not None and self.child is not None and self.child.settings == wanted

    async def connect(self, url: str, *, verify: bool = True) -> "Client":
        """Create a client for the server at ``url``. ``verify``: check its certificate."""
        from fastbg.run.client import Client

        client = Client(url, self._observer.file_sizes, verify=verify)
        self.client = await self._stack.enter_async_context(client)
        return client

    async def start(self, wanted: ServerSettings, group: asyncio.TaskGroup) -> "Client":
        """Start a child server. A task in ``group`` watches for its end."""
        if self.child is None or self.child.settings != wanted or self.child.process.poll() is not None:
            self.child = self._stack.enter_context(process_of(wanted))
        self._sent_signal = self._died = None
        self._monitor = await self._stack.enter_async_context(
            ServerMonitor(self.child, stop_s=STOP_S, on_output=self._on_output)
        )
        if not self.child.listens_at_once:
            await self._monitor.listening()
        client = await self.connect(self._monitor.url, verify=False)  # it is ours, at an address without a name
        self._watching = group.create_task(self._watch_end(self._monitor))
        self._stack.callback(self._watching.cancel)
        return client

    async def notice_end(self) -> None:
        """Wait a moment for the end of our server, which has refused a connection."""
        if self._watching is not None:
            await asyncio.wait([self._watching], timeout=END_S)

    async def stop(self) -> None:
        """Stop the server and close its client."""
        await self.__aexit__(None, None, None)

    async def failure(self) -> ServerError:
        """Return the error that explains why our server does not respond."""
        assert self._monitor is not None  # noqa: S101  # called only for our server
        return await self._monitor.failure()

    def send(self, number: signal.Signals) -> None:
        """Send our server a signal that ends it."""
        if self._monitor is not None and not self.gone:
            self._sent_signal = number.name
            self._monitor.send(number)

    async def _watch_end(self, monitor: ServerMonitor) -> None:
        error = await monitor.died()
        await self._observer.read_all()
        if not self._sent_signal:
            self._died = error.what
            if self.stopped is None:
                self.stopped, self.stderr = error.what, error.stderr
        self._observer.wake()
