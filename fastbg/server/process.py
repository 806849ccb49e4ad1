"""Starts a server as a child process. Needs no event loop: the child can start before other modules are imported."""

import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

from fastbg.server.address import Address
from fastbg.server.listener import bind, bind_unix, remove_unused
from fastbg.server.settings import ServerSettings

# Imports create no garbage. With the collector on, the time until the first response is a twentieth longer.
PROGRAM = "import gc; gc.disable(); from fastbg.server.child import main; main()"
EXIT_S = 10.0  # how long a server may take to exit after it has stopped responding
READY = b'{"ready": true}\n'  # the status of the child when its app has started


class ServerProcess:
    """A server process on a free port of ``host``: ``with ServerProcess(settings) as child``. Killed with the block.

    It inherits a socket that already listens: requests to ``url`` can be sent immediately, and are served when the app
    has started. It also ends when this process ends, even by SIGKILL: its standard input is a pipe that then closes.
    With the option ``uds`` of its settings, ``url`` is the address of a Unix socket.

    ``output``: its standard output and error. ``status``: one line of JSON, `READY` or the three parts of a
    `ServerError`; its end of file means that the server has finished. Both are non-blocking descriptors to read from.
    Raises `ServerError` if no port is free or the data folder cannot be created.
    """

    def __init__(self, settings: ServerSettings, *, host: str = "127.0.0.1") -> None:
        self.settings = settings
        settings.make_folder()
        options = dict(settings.options)
        self._unix_socket: str | None = options.get("uds")
        # The listener is closed here, so that connections are refused when the child has ended.
        with bind_unix(self._unix_socket) if self._unix_socket else bind(host, 0) as listener:
            self.url = str(Address.of(listener, tls="ssl_certfile" in options))
            self.status, child_status = os.pipe()
            try:
                self.process = _start(settings, listener.fileno(), child_status)
            except BaseException:
                os.close(self.status)
                raise
            finally:
                os.close(child_status)
        assert self.process.stdout is not None  # noqa: S101  # it is a pipe
        self.output = self.process.stdout.fileno()
        for descriptor in (self.output, self.status):
            os.set_blocking(descriptor, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.process:  # closes its pipes, then waits for its exit
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # it is the leader of its own session
        os.close(self.status)
        if self._unix_socket:
            remove_unused(self._unix_socket)


def _start(settings: ServerSettings, listener: int, status: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(listener), str(status)],
        cwd=settings.run_in,
        stdin=subprocess.PIPE,  # closed when this process ends, see `fastbg.server.parent`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(listener, status),
        env=os.environ | settings.environment(),
        start_new_session=True,
    )
