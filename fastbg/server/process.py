"""Starts a server as a child process. Needs no event loop: the child can start before other modules are imported."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from fastbg.errors import TOO_MANY_FILES_ERRNOS, ServerError
from fastbg.server.address import Address
from fastbg.server.listener import bind, bind_unix, remove_unused
from fastbg.server.settings import ServerSettings

# Imports create no garbage. With the collector on, the time until the first response is a twentieth longer.
PROGRAM = "import gc; gc.disable(); from fastbg.server.child import main; main()"
EXIT_S = 10.0  # how long a server may take to exit after it has stopped responding
READY = b'{"ready": true}\n'  # the status of the child when its app has started
FINISHED = b'{"finished": true}\n'  # its last status: only the interpreter's own shutdown is left


class ServerProcess:
    """A server process on a free local port: ``with ServerProcess(settings) as child``. Killed with the block.

    It inherits a socket that already listens: requests to ``url`` can be sent immediately, and are served when the app
    has started. It also ends when this process ends, even by SIGKILL: its standard input is a pipe that then closes.
    With the option ``uds`` of its settings, ``url`` is the address of a Unix socket.

    ``output``: its standard output and error. ``status``: lines of JSON, first `READY` or the three parts of a
    `ServerError`, at the end `FINISHED`. Both are non-blocking descriptors to read from. An end of file alone means
    nothing: an app may close descriptors that it does not know.
    Raises `ServerError` if no port is free or the data folder cannot be created.
    """

    stop_signal = signal.SIGINT
    listens_at_once = True

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        settings.make_folder()
        self._unix_socket: str | None = dict(settings.options).get("uds")
        self.status, child_status = os.pipe()
        try:
            self.url, self.process = self._start(child_status)
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
        # It is the leader of its own session. Children that it leaves keep the number of their group in use.
        with self.process, suppress(ProcessLookupError, PermissionError):  # no group, or on macOS one of zombies
            os.killpg(self.process.pid, signal.SIGKILL)
        os.close(self.status)
        if self._unix_socket:
            remove_unused(self._unix_socket)

    def _start(self, status: int) -> "tuple[str, subprocess.Popen[bytes]]":
        """Start the process, and return its address. ``status``: its end of the pipe."""
        settings = self.settings
        # The listener is closed here, so that connections are refused when the child has ended.
        with bind_unix(self._unix_socket) if self._unix_socket else bind("127.0.0.1", 0) as listener:
            url = str(Address.of(listener, tls="ssl_certfile" in dict(settings.options)))
            command = [sys.executable, "-P", "-c", PROGRAM, str(listener.fileno()), str(status)]
            descriptors = (listener.fileno(), status)
            try:
                return url, popen(command, settings, os.environ | settings.environment(), descriptors)
            except OSError as error:
                if error.errno in TOO_MANY_FILES_ERRNOS:
                    raise
                raise not_started(error, settings.name) from None


def not_started(error: OSError, where: str) -> ServerError:
    """Return the error for a process whose environment is too large, or whose folder is missing."""
    reason = error.strerror if error.filename in (None, where) else f"{error.strerror}: {error.filename}"
    remedy = "check the folder, the environment variables and the limits of the system"
    return ServerError(f"the process cannot be started: {reason}", where=where, remedy=remedy)


def popen(
    command: Sequence[str], settings: ServerSettings, environment: Mapping[str, str], descriptors: Sequence[int],
    preexec: Callable[[], None] | None = None,
) -> "subprocess.Popen[bytes]":  # fmt: skip
    """Start ``command`` as the leader of a session of its own. It inherits ``descriptors``. Raises `OSError`."""
    return subprocess.Popen(
        command,
        cwd=settings.run_in,
        stdin=subprocess.PIPE,  # closed when this process ends, see `fastbg.server.parent`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=descriptors,
        env=environment,
        start_new_session=True,
        preexec_fn=preexec,
    )
