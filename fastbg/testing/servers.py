"""The servers of a test session and their lifetimes."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.errors import ServerError
from fastbg.testing.configuration import Configuration
from fastbg.testing.server import Server

if TYPE_CHECKING:
    from fastbg.testing.event_loop import LoopThread

DEFAULT = Configuration()


class ServerPool:
    """The servers of a test session. ``folder``: where apps are imported from. ``new_folder``: creates a data folder.

    A child process serves a "module:attribute" app, by default for the whole session. This process serves an app
    object, by default for one test. ``scope`` ("session" or "function") changes that. All app objects share one event
    loop.
    """

    def __init__(self, folder: Path, new_folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._new_folder = new_folder
        self._kept: dict[object, tuple[Configuration, Server]] = {}
        self._broken: dict[object, tuple[Configuration, ServerError]] = {}
        self._loops: list[LoopThread] = []

    def acquire(self, app: object, scope: str | None, configuration: Configuration = DEFAULT) -> Server:
        """Return a server of ``app``. Raises `ServerError`. A failed "module:attribute" app is not started again.

        A kept server with another configuration is stopped first: there is one server per app.
        """
        if scope is None:
            scope = "session" if isinstance(app, str) else "function"
        if scope == "function":
            return self._start(app, configuration)
        key = app if isinstance(app, str) else id(app)  # a server keeps its app alive, and so its id unique
        if key in self._broken and self._broken[key][0] == configuration:
            raise self._broken[key][1]
        if key in self._kept:
            before, server = self._kept[key]
            if before != configuration or server.stop_reason():
                del self._kept[key]
                server.stop()
        if key not in self._kept:
            try:
                self._kept[key] = configuration, self._start(app, configuration)
            except ServerError as error:
                if isinstance(app, str):
                    self._broken[key] = configuration, error
                raise
        return self._kept[key][1]

    def release(self, server: Server, *, drain: bool = True) -> None:
        """Stop the server if it was started for one test. Raises `ServerError`."""
        if not any(server is kept for _, kept in self._kept.values()):
            server.stop(drain=drain)

    def stop(self, *, drain: bool = True) -> None:
        """Stop all servers. Raises `ServerError`."""
        with ExitStack() as stack:
            for loop in self._loops:
                stack.callback(loop.stop, drain=drain)
            for _, kept in self._kept.values():
                stack.callback(kept.stop, drain=drain)
            self._kept.clear()
            self._loops.clear()

    def _start(self, app: object, configuration: Configuration) -> Server:
        if not app:
            raise ServerError(
                "no app is set",
                where="the fixture fastbg_app",
                remedy='set fastbg_app = "module:attribute" in the pytest settings, or override the fixture to return'
                " this text or the app object",
            )
        if isinstance(app, str):
            from fastbg.testing.process import ChildServer

            return ChildServer(app, self._folder, self._new_folder(), configuration, while_starting=_import_clients)
        if callable(app):
            from fastbg.testing.thread import ThreadServer

            if configuration.needs_process:
                raise ServerError(
                    "an app object runs in this process, and has no environment or working directory of its own",
                    where="the fixtures fastbg_env and fastbg_cwd",
                    remedy='use monkeypatch.setenv and monkeypatch.chdir, or return "module:attribute" from fastbg_app',
                )
            return ThreadServer(app, self._new_folder(), configuration.options, self._loop())
        raise ServerError(
            f"not a valid app: {app!r} is not callable",
            where="the fixture fastbg_app",
            remedy='return "module:attribute" or the app object',
        )

    def _loop(self) -> "LoopThread":
        """Return the event loop of all app objects; a new one if an app has ended it, or blocks it."""
        from fastbg.testing.event_loop import LoopThread

        before = self._loops[-1] if self._loops else None
        if before is None or before.blocked_by is not None or before.is_over:
            self._loops.append(LoopThread(None if before is None else before.blocked_by or "an app"))
        return self._loops[-1]


def _import_clients() -> None:
    """Import httpx and others: that takes about as long as a child process takes to start."""
    import fastbg.testing.clients  # noqa: F401
