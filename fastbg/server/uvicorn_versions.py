"""What differs between versions of uvicorn, in one place."""

import signal
import sys
from inspect import signature
from socket import socket
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from fastbg.errors import STARTUP_FAILURE

HEALTHCHECK_S = 30  # how long a worker may take to answer, or it is killed: it may be starting on a busy machine


class UvicornServer(uvicorn.Server):
    """uvicorn's server. Where the app does not start up, the process exits with `STARTUP_FAILURE` in all versions."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.lifespan.should_exit:  # uvicorn before 0.50 returns here, and its process exits with 0
            sys.exit(STARTUP_FAILURE)


class UvicornWorkers(Multiprocess):
    """uvicorn's supervisor of several processes that share ``listener``. SIGHUP is left as it is."""

    def __init__(self, config: uvicorn.Config, listener: socket) -> None:
        options: dict[str, Any] = {"sockets": [listener]}
        if "target" in signature(Multiprocess).parameters:  # uvicorn before 0.51
            options["target"] = UvicornServer(config).run
        config.timeout_worker_healthcheck = HEALTHCHECK_S  # where uvicorn asks for it; before 0.37 it waits 5 s
        hanging_up = signal.getsignal(signal.SIGHUP)
        super().__init__(config, **options)
        signal.signal(signal.SIGHUP, hanging_up)  # uvicorn would start new workers, for nobody

    @property
    def pids(self) -> list[int | None]:
        return [worker.pid for worker in self.processes]

    @property
    def exit_codes(self) -> list[int | None]:
        return [worker.process.exitcode for worker in self.processes]

    def keep_subprocess_alive(self) -> None:
        """Stop where a worker did not start up; uvicorn before 0.50 would start it again, without end."""
        if STARTUP_FAILURE in self.exit_codes:
            self.should_exit.set()
        super().keep_subprocess_alive()
