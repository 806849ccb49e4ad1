"""The servers of a test session and their lifetimes."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastbg.errors import ServerError
from fastbg.testing.server import Server


class ServerPool:
    """The servers of a test session. ``folder``: where apps are imported from. ``new_folder``: creates a data folder.

    A child process serves a "module:attribute" app, by default for the whole session. A thread serves an app object,
    by default for one test. ``scope`` ("session" or "function") changes that.
    """

    def __init__(self, folder: Path, new_folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._new_folder = new_folder
        self._kept: dict[object, Server] = {}
        self._broken: dict[object, ServerError] = {}

    def acquire(self, app: object, scope: str | None, options: Mapping[str, Any] | None = None) -> Server:
        """Return a server of ``app``. Raises `ServerError`. A failed "module:attribute" app is not started again.

        ``options``: as in the table `server` of a script.
        """
        options = options or {}
        if scope is None:
            scope = "session" if isinstance(app, str) else "function"
        if scope == "function":
            return self._start(app, options)
        named = app if isinstance(app, str) else id(app)  # a server keeps its app alive, and so its id unique
        key = (named, *sorted((name, str(value)) for name, value in options.items()))
        if key in self._broken:
            raise self._broken[key]
        if key in self._kept and self._kept[key].stop_reason():
            self._kept.pop(key).stop()
        if key not in self._kept:
            try:
                self._kept[key] = self._start(app, options)
            except ServerError as error:
                if isinstance(app, str):
                    self._broken[key] = error
                raise
        return self._kept[key]

    def release(self, server: Server, *, drain: bool = True) -> None:
        """Stop the server if it was started for one test. Raises `ServerError`."""
        if server not in self._kept.values():
            server.stop(drain=drain)

    def stop(self, *, drain: bool = True) -> None:
        """Stop all servers. Raises `ServerError`."""
        with ExitStack() as stack:
            for kept in self._kept.values():
                stack.callback(kept.stop, drain=drain)
            self._kept.clear()

    def _start(self, app: object, options: Mapping[str, Any]) -> Server:
        if not app:
            raise ServerError(
                "no app is set",
                where="the fixture fastbg_app",
                remedy='set fastbg_app = "module:attribute" in the pytest settings, or override the fixture to return'
                " this text or the app object",
            )
        if isinstance(app, str):
            from fastbg.testing.process import ChildServer

            return ChildServer(app, self._folder, self._new_folder(), options, while_starting=_import_clients)
        if callable(app):
            from fastbg.testing.thread import ThreadServer

            return ThreadServer(app, self._new_folder(), options)
        raise ServerError(
            f"not a valid app: {app!r} is not callable",
            where="the fixture fastbg_app",
            remedy='return "module:attribute" or the app object',
        )


def _import_clients() -> None:
    """Import httpx and others: that takes about as long as a child process takes to start."""
    import fastbg.testing.clients  # noqa: F401
