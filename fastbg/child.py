"""What runs in the child that `fastbg.launch` starts: serves on the socket that it inherited, and tells how it went.

Arguments: the descriptors of the socket and of the pipe for its status. The garbage collector is off until the app is
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
import time
from contextlib import suppress

import uvicorn

from fastbg.app import application
from fastbg.errors import ServerError
from fastbg.launch import READY
from fastbg.loading import load
from fastbg.settings import Settings
from fastbg.supervisors import run
from fastbg.parent import end_with
from fastbg.uvicorn_versions import Server

TICK_S = 0.1  # as uvicorn's
LAST_CONNECTIONS_S = 0.05  # how long connections that were closed on the other side may take to be noticed


class PromptServer(Server):
    """Ends as soon as it is told to and has nothing left to do, where uvicorn takes up to 0.2 s to notice.

    After a SIGTERM it ends as a server does that uvicorn's own command started: the signal is raised again and kills
    the process, with whatever tasks and threads are left. Any other end lets these come to theirs.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._terminated = False
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets)
        if self._terminated:
            sys.stdout.flush()
            sys.stderr.flush()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        tick = 0
        while not await self.on_tick(tick):
            tick = (tick + 1) % 864000  # a day, as uvicorn's
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._told.wait()

    def handle_exit(self, sig: int, frame: object) -> None:
        self._terminated |= sig == signal.SIGTERM
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn asks for a frame and does not look at it
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = time.monotonic() + LAST_CONNECTIONS_S
        while self.server_state.connections and not self.server_state.tasks and time.monotonic() < end:
            await asyncio.sleep(0.001)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()


def main() -> None:
    listener, status = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    for descriptor in (listener.fileno(), status):
        os.set_inheritable(descriptor, False)
    atexit.register(_finish, status)  # registered first, called last: whatever the app wants to do at its end is done
    end_with(sys.stdin.fileno())
    settings = Settings.from_environment()
    try:
        settings.make_folder()
        load(settings.app, settings.app_dir)
    except ServerError as error:
        parts = {"what": error.what, "where": error.where, "remedy": error.remedy}
        os.write(status, json.dumps(parts).encode() + b"\n")
        sys.exit(2)
    gc.enable()

    async def tell() -> None:
        os.write(status, READY)

    # uvicorn calls this first when it has started up, and not again for years.
    options = dict(settings.options)
    config = uvicorn.Config(application, factory=True, callback_notify=tell, timeout_notify=10**9, **options)
    sys.exit(run(PromptServer(config), listener))


def _finish(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.close(status)  # what is left is taking down the interpreter, for which nobody has to wait
