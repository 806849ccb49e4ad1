"""The servers of a test session, each kept as long as it is needed."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fastbg.errors import ServerError
from fastbg.testing.server import Server


class ServerPool:
    """The servers of a test session. ``folder``: to import apps from; ``new_folder``: makes one for a server's files.

    An app that is named is served by a child process for the whole session, an app object by a thread for one test,
    unless a ``scope`` ("session" or "function") says otherwise.
    """

    def __init__(self, folder: Path, new_folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._new_folder = new_folder
        self._kept: dict[object, Server] = {}
        self._broken: dict[object, ServerError] = {}

    def take(self, app: object, scope: str | None) -> Server:
        """A server of ``app``, to be given back. Raises `ServerError`, for an app that is named without a new try."""
        if scope is None:
            scope = "session" if isinstance(app, str) else "function"
        if scope == "function":
            return self._start(app)
        key = app if isinstance(app, str) else id(app)  # a server keeps its app, and so its id
        if key in self._broken:
            raise self._broken[key]
        if key in self._kept and self._kept[key].trouble():
            self._kept.pop(key).stop()
        if key not in self._kept:
            try:
                self._kept[key] = self._start(app)
            except ServerError as error:
                if isinstance(app, str):
                    self._broken[key] = error
                raise
        return self._kept[key]

    def give_back(self, taken: Server, *, drain: bool = True) -> None:
        """Stop a server that is for one test only. Raises `ServerError`."""
        if taken not in self._kept.values():
            taken.stop(drain=drain)

    def stop(self, *, drain: bool = True) -> None:
        """Stop all of them. Raises `ServerError`."""
        with ExitStack() as stack:
            for kept in self._kept.values():
                stack.callback(kept.stop, drain=drain)
            self._kept.clear()

    def _start(self, app: object) -> Server:
        if not app:
            raise ServerError(
                "no app is named",
                where="the fixture fastbg_app",
                remedy='set fastbg_app = "module:attribute" in the settings of pytest, or override the fixture: it'
                " returns such a text, or the app object",
            )
        if isinstance(app, str):
            from fastbg.testing.process import ChildServer

            return ChildServer(app, self._folder, self._new_folder(), meanwhile=_import_clients)
        if callable(app):
            from fastbg.testing.thread import ThreadServer

            return ThreadServer(app, self._new_folder())
        raise ServerError(
            f"{app!r} is no app: it cannot be called",
            where="the fixture fastbg_app",
            remedy='let it return "module:attribute", or the app object',
        )


def _import_clients() -> None:
    """Import what the test needs next: httpx and the like take as long as a child takes to start."""
    import fastbg.testing.clients  # noqa: F401
