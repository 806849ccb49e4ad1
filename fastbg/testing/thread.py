"""Serves the app under test in this process, in the event loop of all app objects."""

import asyncio
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from fastbg.data_folder import journal_of
from fastbg.errors import ServerError
from fastbg.recorder import instrument
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.server.address import Address
from fastbg.server.child import FastShutdownServer
from fastbg.server.listener import bind, bind_unix, remove_unused
from fastbg.server.starting import READY_S
from fastbg.server.uvicorn_options import parse, prepare, words_of
from fastbg.testing.event_loop import LoopThread, lifespan_tasks
from fastbg.testing.journal import JournalReader
from fastbg.testing.server import END_S, INTERRUPTED_STOP_S, STOP_S

BEFORE_CANCEL_S = 0.5  # running tasks are counted so long before uvicorn cancels them
OF_PROCESSES = ("app_dir", "factory", "env_file", "loop", "log_config", "log_level", "access_log", "use_colors")


class ThreadServer:
    """A server for an app object in this process, so that a test can patch what the app uses. Raises `ServerError`.

    ``options``: as in the table `server` of a script, except those in `OF_PROCESSES`. ``loop``: the event loop that it
    runs in.
    """

    def __init__(self, app: ASGIApp, directory: Path, options: Mapping[str, Any], loop: LoopThread) -> None:
        self.name = _name_of(app)
        self._loop = loop
        self.event_loop = loop.description
        self.journal_path = journal_of(directory)
        self._ready, self._over = threading.Event(), threading.Event()
        self._stop_s: float = STOP_S
        self._end_s = END_S
        with ExitStack() as stack:
            self.journal = JournalReader(self.journal_path)
            stack.callback(self.journal.close)
            self._journal = _ClosableJournal(self.journal_path)
            instrument.acquire()
            stack.callback(instrument.release)
            self._recorder = Recorder(app, self._journal)
            self._lifespan_tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
            self._server = FastShutdownServer(_config(self._app, options), self._ready.set)
            unix_socket = options.get("uds")
            listener = bind_unix(unix_socket) if unix_socket else bind("127.0.0.1", 0)
            if unix_socket:
                stack.callback(remove_unused, unix_socket)
            self.address = Address.of(listener, tls="ssl_certfile" in options)
            loop.start(lambda: self._serve(listener))
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
        self._over.wait(timeout_s)
        return "the server has ended" if self._over.is_set() or self._loop.is_over else None

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

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            lifespan_tasks.set(self._lifespan_tasks)
        await self._recorder(scope, receive, send)

    async def _serve(self, listener: socket.socket) -> None:
        try:
            with suppress(SystemExit):  # uvicorn exits if the app does not start up
                await self._server.serve(sockets=[listener])
            await _end_of(self._server.server_state.tasks)  # cancelled ones: a thread may still run for them
            for task in list(self._lifespan_tasks):
                task.cancel()
            await _end_of(self._lifespan_tasks)
        finally:
            listener.close()
            self._recorder.close()
            self._journal.close()
            self._over.set()
            self._ready.set()

    def _end(self) -> None:
        self._server.handle_exit(signal.SIGINT, None)
        self._over.wait(self._stop_s - BEFORE_CANCEL_S)
        running = sum(each.task is not None for each in self._recorder.unfinished())
        self._over.wait(BEFORE_CANCEL_S + self._end_s)
        if not self._over.is_set():
            self._loop.blocked_by = self.name
        if running or not self._over.is_set():
            tasks = "a background task" if running == 1 else f"{running} background tasks"
            raise ServerError(
                f"{tasks} still ran {STOP_S} s after the test" if running else "the app did not end after the test",
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


async def _end_of(tasks: Iterable[asyncio.Task[Any]]) -> None:
    if waiting := [task for task in tasks if task is not asyncio.current_task()]:
        await asyncio.wait(waiting)


def _config(app: ASGIApp, options: Mapping[str, Any]) -> uvicorn.Config:
    """Return uvicorn's settings without any logging setup. Raises `ServerError`."""
    for name in OF_PROCESSES:
        if name in options:
            raise ServerError(
                "this option concerns a whole process, but an app object is served in this one",
                where=f"the fixture fastbg_server: {name}",
                remedy='set the app as "module:attribute", or remove the option',
            )
    arguments = {"timeout_graceful_shutdown": STOP_S, **prepare(parse(list(words_of(options))))}
    config = uvicorn.Config(app, interface="asgi3", log_config=None, **arguments)
    with warnings.catch_warnings():  # from optional modules that uvicorn tries to import
        warnings.simplefilter("ignore")
        config.load()
    return config


def _name_of(app: Any) -> str:
    title = getattr(app, "title", None)  # FastAPI's
    return title if isinstance(title, str) else type(app).__qualname__
