"""The app under test in a thread of this process."""

import asyncio
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from fastbg.data_folder import journal_of
from fastbg.errors import ServerError
from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.server.child import FastShutdownServer
from fastbg.server.listener import bind, url_of
from fastbg.server.starting import READY_S
from fastbg.testing.journal import JournalReader
from fastbg.testing.server import HURRY_S, STOP_S

EARLIER_S = 0.5  # before uvicorn cancels the tasks that still run, we ask which do
END_S = 10.0  # how long the event loop may take to end after that


class ThreadServer:
    """Serves an app object in a thread; a test may change what the object uses. Raises `ServerError`."""

    def __init__(self, app: ASGIApp, directory: Path) -> None:
        self.name = _name_of(app)
        self.journal_path = journal_of(directory)
        self._ready = threading.Event()
        self._patience_s: float = STOP_S
        self._end_s = END_S
        with ExitStack() as stack:
            self.journal = JournalReader(self.journal_path)
            stack.callback(self.journal.close)
            self._written = _Journal(self.journal_path)
            stack.enter_context(_recording())
            self._recorder = Recorder(app, self._written)
            self._server = FastShutdownServer(_config(self._recorder, self._ready))
            listener = bind("127.0.0.1", 0)
            self.url = url_of(listener)
            self._thread = threading.Thread(target=self._run, args=[listener], name="fastbg server", daemon=True)
            self._thread.start()
            stack.callback(self._end)
            if not self._ready.wait(READY_S):
                raise ServerError(
                    f"the server did not start up within {READY_S:g} s",
                    where=self.name,
                    remedy="look for what blocks in its startup",
                )
            if not self._server.started:
                raise ServerError(
                    "the app did not start up", where=self.name, remedy="mend what the captured log complains of"
                )
            self._stack = stack.pop_all()

    def trouble(self, patience_s: float = 0.0) -> str | None:
        self._thread.join(patience_s)
        return None if self._thread.is_alive() else "the thread of the server has ended"

    def begin(self) -> None:
        pass

    def last_lines(self) -> list[str]:
        return []

    def stop(self, *, drain: bool = True) -> None:
        if drain:
            self._stack.close()
            return
        self._patience_s = self._end_s = HURRY_S
        with suppress(ServerError):  # of tasks that run on: they end with this process
            self._stack.close()

    def _run(self, listener: socket.socket) -> None:
        try:
            with suppress(SystemExit):  # uvicorn's way to say that the app did not start up
                asyncio.run(self._server.serve(sockets=[listener]))
        finally:
            listener.close()
            self._written.close()
            self._ready.set()

    def _end(self) -> None:
        self._server.handle_exit(signal.SIGINT, None)
        self._thread.join(self._patience_s - EARLIER_S)
        running = self._recorder.unfinished
        self._thread.join(EARLIER_S + self._end_s)
        if running or self._thread.is_alive():
            tasks = "a background task" if running == 1 else f"{running} background tasks"
            raise ServerError(
                f"{tasks} still ran {STOP_S} s after the test",
                where=self.name,
                remedy="let them end in the test, a thread cannot be stopped; or name the app as module:attribute, a"
                " process can",
            )


class _Journal(Journal):
    """One that ends before its process does."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _config(app: ASGIApp, ready: threading.Event) -> uvicorn.Config:
    """Return uvicorn's settings for a server that leaves this process's logging as it is. ``ready``: is set by it."""

    async def tell() -> None:  # uvicorn calls it first when it has started up, and not again for years
        ready.set()

    config = uvicorn.Config(
        app, log_config=None, timeout_graceful_shutdown=STOP_S, callback_notify=tell, timeout_notify=10**9
    )
    with warnings.catch_warnings():  # of what uvicorn looks for, which is not what is tested
        warnings.simplefilter("ignore")
        config.load()
    return config


_recorders = 0
_counting = threading.Lock()


@contextmanager
def _recording() -> Iterator[None]:
    """Starlette's classes are wrapped as long as one of our servers needs it."""
    global _recorders
    with _counting:
        _recorders += 1
        instrument.install()
    try:
        yield
    finally:
        with _counting:
            _recorders -= 1
            if not _recorders:
                instrument.uninstall()


def _name_of(app: Any) -> str:
    title = getattr(app, "title", None)  # FastAPI's
    return title if isinstance(title, str) else type(app).__qualname__
