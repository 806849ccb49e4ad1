"""Serves the app under test in a thread of this process."""

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
from fastbg.testing.event_loop import SystemClockLoop
from fastbg.testing.journal import JournalReader
from fastbg.testing.server import INTERRUPTED_STOP_S, STOP_S

BEFORE_CANCEL_S = 0.5  # running tasks are counted so long before uvicorn cancels them
LOOP_END_S = 10.0  # timeout for the end of the event loop after that


class ThreadServer:
    """A server for an app object in a thread, so that a test can patch what the app uses. Raises `ServerError`."""

    def __init__(self, app: ASGIApp, directory: Path) -> None:
        self.name = _name_of(app)
        self.journal_path = journal_of(directory)
        self._ready = threading.Event()
        self._stop_s: float = STOP_S
        self._end_s = LOOP_END_S
        with ExitStack() as stack:
            self.journal = JournalReader(self.journal_path)
            stack.callback(self.journal.close)
            self._journal = _ClosableJournal(self.journal_path)
            stack.enter_context(_instrumented())
            self._recorder = Recorder(app, self._journal)
            self._server = FastShutdownServer(_config(self._recorder), self._ready.set)
            listener = bind("127.0.0.1", 0)
            self.url = url_of(listener)
            self._thread = threading.Thread(target=self._run, args=[listener], name="fastbg server", daemon=True)
            self._thread.start()
            stack.callback(self._end)
            if not self._ready.wait(READY_S):
                raise ServerError(
                    f"the server did not start up within {READY_S:g} s",
                    where=self.name,
                    remedy="find what blocks in the startup of the app",
                )
            if not self._server.started:
                raise ServerError(
                    "the app did not start up", where=self.name, remedy="fix the error in the captured log"
                )
            self._stack = stack.pop_all()

    def stop_reason(self, timeout_s: float = 0.0) -> str | None:
        self._thread.join(timeout_s)
        return None if self._thread.is_alive() else "the server thread has ended"

    def start_test(self) -> None:
        pass

    def last_lines(self) -> list[str]:
        return []

    def stop(self, *, drain: bool = True) -> None:
        if drain:
            self._stack.close()
            return
        self._stop_s = self._end_s = INTERRUPTED_STOP_S
        with suppress(ServerError):  # about tasks that still run: they end with this process
            self._stack.close()

    def _run(self, listener: socket.socket) -> None:
        try:
            # uvicorn exits with `SystemExit` if the app does not start up.
            with suppress(SystemExit), asyncio.Runner(loop_factory=SystemClockLoop) as runner:
                runner.run(self._server.serve(sockets=[listener]))
        finally:
            listener.close()
            self._recorder.close()
            self._journal.close()
            self._ready.set()

    def _end(self) -> None:
        self._server.handle_exit(signal.SIGINT, None)
        self._thread.join(self._stop_s - BEFORE_CANCEL_S)
        running = sum(each.task is not None for each in self._recorder.unfinished())
        self._thread.join(BEFORE_CANCEL_S + self._end_s)
        if running or self._thread.is_alive():
            tasks = "a background task" if running == 1 else f"{running} background tasks"
            raise ServerError(
                f"{tasks} still ran {STOP_S} s after the test",
                where=self.name,
                remedy="wait for the tasks in the test, or set the app as module:attribute: a thread cannot be stopped,"
                " a process can",
            )


class _ClosableJournal(Journal):
    """A journal that can be closed before its process ends."""

    def close(self) -> None:
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _config(app: ASGIApp) -> uvicorn.Config:
    """Return uvicorn's settings without any logging setup."""
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=STOP_S)
    with warnings.catch_warnings():  # from optional modules that uvicorn tries to import
        warnings.simplefilter("ignore")
        config.load()
    return config


_recorder_count = 0
_lock = threading.Lock()


@contextmanager
def _instrumented() -> Iterator[None]:
    """Instrument Starlette's classes while at least one server is running."""
    global _recorder_count
    with _lock:
        _recorder_count += 1
        instrument.install()
    try:
        yield
    finally:
        with _lock:
            _recorder_count -= 1
            if not _recorder_count:
                instrument.uninstall()


def _name_of(app: Any) -> str:
    title = getattr(app, "title", None)  # FastAPI's
    return title if isinstance(title, str) else type(app).__qualname__
