"""The program of the child process that `process` starts. It serves on an inherited socket, and reports its status.

Arguments: the descriptors of the socket and of the pipe for the status. The garbage collector is off until the app is
loaded.
"""

import asyncio
import atexit
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from fastbg.errors import ServerError
from fastbg.server.app import application
from fastbg.server.importer import load
from fastbg.server.parent import end_with
from fastbg.server.process import FINISHED, READY
from fastbg.server.settings import ServerSettings
from fastbg.server.supervisors import run
from fastbg.server.uvicorn_options import parse, prepare, words_of
from fastbg.server.uvicorn_versions import UvicornServer


class FastShutdownServer(UvicornServer):
    """uvicorn's server without the sleeps of its shutdown.

    uvicorn sleeps up to 0.1 s before it handles a signal, and another 0.1 s for connections, even if there are none:
    `fastbg demo --work 0` would take 34 % longer. After a SIGTERM the process ends like a process of uvicorn's own
    command: the signal is raised again and kills it, with its remaining tasks and threads. After any other end they
    finish. ``on_started`` is called after the startup.
    """

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._terminated = False
        self._ticks: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets)
        if self._terminated:
            sys.stdout.flush()
            sys.stderr.flush()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def main_loop(self) -> None:
        self._ticks = asyncio.create_task(super().main_loop())
        with suppress(asyncio.CancelledError):
            await self._ticks

    def handle_exit(self, sig: int, frame: object) -> None:
        self._terminated |= sig == signal.SIGTERM
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn's type is a frame, but it ignores it
        if self._ticks is not None and not self._ticks.done():
            self._ticks.get_loop().call_soon_threadsafe(self._ticks.cancel)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        await self.lifespan.shutdown()


def main() -> None:
    listener, status = socket.socket(fileno=int(sys.argv[1])), _Status(int(sys.argv[2]))
    os.set_inheritable(listener.fileno(), False)
    atexit.register(_finish, status)  # registered first, so called last: after the atexit functions of the app
    end_with(sys.stdin.fileno())
    settings = ServerSettings.from_environment()
    try:
        settings.make_folder()
        options = prepare(parse(list(words_of(dict(settings.options)))))
        load(settings.app, settings.app_dir, factory=settings.factory)
    except ServerError as error:
        parts = {"what": error.what, "where": error.where, "remedy": error.remedy}
        status.write(json.dumps(parts).encode() + b"\n")
        sys.exit(2)
    gc.enable()

    config = uvicorn.Config(application, factory=True, **options)
    sys.exit(run(FastShutdownServer(config, lambda: status.write(READY)), listener))


class _Status:
    """The pipe for the status. The app may have closed its descriptor, and another file may have the number now."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._file = self._identity()

    def write(self, line: bytes) -> None:
        """Write ``line`` unless the pipe was closed."""
        with suppress(OSError):  # closed, or nobody reads
            if self._identity() == self._file:
                os.write(self._descriptor, line)

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino


def _finish(status: _Status) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    status.write(FINISHED)  # the parent does not have to wait for the interpreter's own shutdown
