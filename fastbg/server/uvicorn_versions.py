"""The code that depends on the version of uvicorn."""

import signal
import sys
from inspect import signature
from socket import socket
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from fastbg.errors import STARTUP_FAILURE

# Seconds after which uvicorn kills a worker that does not respond; the start may be slow on a busy machine. uvicorn
# before 0.37 always waits 5 s.
HEALTHCHECK = (
    {"timeout_worker_healthcheck": 30} if "timeout_worker_healthcheck" in signature(uvicorn.Config).parameters else {}
)


class UvicornServer(uvicorn.Server):
    """uvicorn's server. With all versions it exits with `STARTUP_FAILURE` if the app does not start."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.lifespan.should_exit:  # uvicorn before 0.50 returns here, and its process exits with 0
            sys.exit(STARTUP_FAILURE)


class UvicornWorkers(Multiprocess):
    """uvicorn's supervisor of several processes that share ``listener``. It does not change the handler of SIGHUP."""

    def __init__(self, config: uvicorn.Config, listener: socket) -> None:
        options: dict[str, Any] = {"sockets": [listener]}
        if "target" in signature(Multiprocess).parameters:  # uvicorn before 0.51
            options["target"] = UvicornServer(config).run
        sighup_handler = signal.getsignal(signal.SIGHUP)
        super().__init__(config, **options)
        signal.signal(signal.SIGHUP, sighup_handler)  # uvicorn would restart the workers after the terminal has closed

    @property
    def pids(self) -> list[int | None]:
        return [worker.pid for worker in self.processes]

    @property
    def exit_codes(self) -> list[int | None]:
        return [worker.process.exitcode for worker in self.processes]

    def keep_subprocess_alive(self) -> None:
        """Stop if a worker did not start. uvicorn before 0.50 would restart it forever."""
        if STARTUP_FAILURE in self.exit_codes:
            self.should_exit.set()
        super().keep_subprocess_alive()
