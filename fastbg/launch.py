"""Starts a server as a child process. Needs no event loop, so the child can start before anything else is imported."""

import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

from fastbg.listener import bind, url_of
from fastbg.settings import Settings

# Nothing that is imported is garbage: to look for some takes a twentieth of the time until the server answers.
PROGRAM = "import gc; gc.disable(); from fastbg.child import main; main()"
READY = b'{"ready": true}\n'  # what the child tells when its app has started up


class Child:
    """``with Child(settings) as child``: a server on a free port of ``host``, which is gone at the end.

    It inherits a socket that listens already: a request may be sent to ``url`` at once, and is answered when the app
    has started up. It also ends when this process dies, be it by SIGKILL: its standard input is ``lifeline``, a pipe.
    ``output`` gets what it writes to standard output and error. ``status`` gets a line of JSON, `READY` or the three
    parts of a `ServerError`, and ends when the child has nothing more to do. Both are descriptors to read from that do
    not wait. Raises `ServerError` where no port is to be had, or the data folder cannot be made.
    """

    def __init__(self, settings: Settings, *, host: str = "127.0.0.1") -> None:
        self.settings = settings
        settings.make_folder()
        listener = bind(host, 0)
        self.url = url_of(listener)
        child_input, self._lifeline = os.pipe()
        self.output, child_output = os.pipe()
        self.status, child_status = os.pipe()
        for descriptor in (self.output, self.status):
            os.set_blocking(descriptor, False)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(listener.fileno()), str(child_status)],
                cwd=settings.run_in,
                stdin=child_input,
                stdout=child_output,
                stderr=child_output,
                pass_fds=(listener.fileno(), child_status),
                env=os.environ | settings.environment(),
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            listener.close()  # so that a dead child means a refused connection
            for descriptor in (child_input, child_output, child_status):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # it leads a session of its own
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for descriptor in (self._lifeline, self.output, self.status):
            os.close(descriptor)
