"""Serves in this process, in several processes, or in one that restarts when the code changes."""

import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from fastbg.errors import STARTUP_FAILURE
from fastbg.server.signals import on_second_interrupt

if TYPE_CHECKING:
    from uvicorn import Config, Server


def run(server: "Server", listener: socket.socket) -> int:
    """Serve on ``listener`` in this process. Return 0 after a signal and a clean shutdown, else uvicorn's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn handles these signals while it serves, and raises them again at its end: then they must do nothing.
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[listener])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else STARTUP_FAILURE
    return 0


def run_workers(config: "Config", listener: socket.socket) -> list[int | None]:
    from fastbg.server.uvicorn_versions import UvicornWorkers

    supervisor = UvicornWorkers(config, listener)
    on_second_interrupt(lambda: _interrupt(supervisor.pids))
    supervisor.run()
    return supervisor.exit_codes


def run_reloader(config: "Config", listener: socket.socket) -> list[int | None]:
    """Serve in a process that restarts when the code changes. Return its exit code, or [] if the code is broken."""
    from uvicorn.supervisors import ChangeReload

    from fastbg.server.uvicorn_versions import UvicornServer

    class Reloader(ChangeReload):  # type: ignore[valid-type,misc]  # uvicorn chooses the class by the installed packages
        def startup(self) -> None:
            super().startup()  # installs its signal handlers
            on_second_interrupt(lambda: _interrupt([self.process.pid]))

    reloader = Reloader(config, target=UvicornServer(config).run, sockets=[listener])
    reloader.run()
    code = reloader.process.exitcode
    return [] if code == STARTUP_FAILURE else [code]  # the user fixes the code while the reloader waits


def _interrupt(pids: list[int | None]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid or 0, signal.SIGINT)
