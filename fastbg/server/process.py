"""Starts a server as a child process. Needs no event loop, so the child can start before anything else is imported."""

import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

from fastbg.server.listener import bind, url_of
from fastbg.server.settings import ServerSettings

# Nothing that is imported is garbage: to look for some takes a twentieth of the time until the server answers.
PROGRAM = "import gc; gc.disable(); from fastbg.server.child import main; main()"
LAST_MOMENT_S = 10.0  # how long a server that answers no more may take to end
READY = b'{"ready": true}\n'  # what the child tells when its app has started up


class ServerProcess:
    """``with ServerProcess(settings) as child``: a server on a free port of ``host``, which is gone at the end.

    It inherits a socket that listens already: a request may be sent to ``url`` at once, and is answered when the app
    has started up. It also ends when this process dies, even by SIGKILL, as its standard input is a pipe that closes
    with us. ``output`` gets what it writes to standard output and error. ``status`` gets a line of JSON, `READY` or the
    three parts of a `ServerError`, and ends when the child has nothing more to do. Both are descriptors to read from
    that do not block. Raises `ServerError` where no port is to be had, or the data folder cannot be made.
    """

    def __init__(self, settings: ServerSettings, *, host: str = "127.0.0.1") -> None:
        self.settings = settings
        settings.make_folder()
        with bind(host, 0) as listener:  # closed here, so that a dead child means a refused connection
            self.url = url_of(listener)
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
        with self.process:  # closes its pipes, then waits for its end
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # it leads a session of its own
        os.close(self.status)


def _start(settings: ServerSettings, listener: int, status: int) -> "subprocess.Popen[bytes]":
    """Start the child, which inherits these descriptors."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(listener), str(status)],
        cwd=settings.run_in,
        stdin=subprocess.PIPE,  # which closes with us: see `fastbg.server.parent`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(listener, status),
        env=os.environ | settings.environment(),
        start_new_session=True,
    )
