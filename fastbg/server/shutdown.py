"""Lets a server end although clients neither send nor take what is due.

uvicorn waits at its end for every request that is under way. One whose body does not come, or whose response is not
taken, would keep it for ever; one whose background tasks run is waited for.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

PATIENCE_S = 5.0


class GracefulShutdown:
    """An ASGI app around ``app``; made in the event loop of the server. `begin` says that the server is to end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._state: Any = None  # of uvicorn: what it knows of its connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._state is None and scope["type"] == "http":
            cycle: Any = getattr(send, "__self__", None)  # of uvicorn, unless something else stands between
            if hasattr(cycle, "transport"):
                self._state = cycle.transport.get_protocol().server_state
        await self._app(scope, receive, send)

    def begin(self) -> None:
        """Clients have `PATIENCE_S` from now on. May be called in a signal handler."""
        self._loop.call_soon_threadsafe(self._loop.call_later, PATIENCE_S, self._let_go)

    def _let_go(self) -> None:
        for connection in list(self._state.connections) if self._state else []:
            cycle = getattr(connection, "cycle", None)
            sends_no_more = cycle is not None and cycle.more_body and not cycle.response_complete
            if sends_no_more or connection.transport.get_write_buffer_size():
                connection.transport.abort()
        self._loop.call_later(PATIENCE_S, self._let_go)
