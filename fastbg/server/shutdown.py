"""A graceful shutdown that slow clients cannot block.

At shutdown uvicorn waits for every open request, without a limit. A client that does not send the rest of its request,
or does not read its response, is disconnected after a timeout. Requests whose background tasks run are waited for.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

CLIENT_TIMEOUT_S = 5.0


class GracefulShutdown:
    """An ASGI app around ``app``. It must be created in the event loop of the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._state: Any = None  # uvicorn's `ServerState`, with its connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._state is None and scope["type"] == "http":
            cycle: Any = getattr(send, "__self__", None)  # uvicorn's, unless `send` is wrapped
            if hasattr(cycle, "transport"):
                self._state = cycle.transport.get_protocol().server_state
        await self._app(scope, receive, send)

    def begin(self) -> None:
        """Start the timeout for clients. May be called in a signal handler."""
        self._loop.call_soon_threadsafe(self._loop.call_later, CLIENT_TIMEOUT_S, self._abort_slow_clients)

    def _abort_slow_clients(self) -> None:
        for connection in list(self._state.connections) if self._state else []:
            cycle = getattr(connection, "cycle", None)
            is_incomplete = cycle is not None and cycle.more_body and not cycle.response_complete
            if is_incomplete or connection.transport.get_write_buffer_size():
                connection.transport.abort()
        self._loop.call_later(CLIENT_TIMEOUT_S, self._abort_slow_clients)
