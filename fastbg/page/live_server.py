"""Serves the live page to browsers on this machine, in the event loop of the caller."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.page.document import policy
from fastbg.page.live import LiveFeed

_HEADERS = {
    "content-security-policy": f"{policy()}; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
SEND_BUFFER = 64 * 1024  # bytes: what is on its way to a slow page cannot be replaced by a later state
REFUSED = "The host name of this request is not one of fastbg: use the address that `fastbg tail --web` printed.\n"


class Guard:
    """Answers only requests to this server by its own name, and adds the headers that protect the page.

    A page of another site can make its name point to 127.0.0.1 (DNS rebinding). Its requests then have that name in
    ``Host``. So only ``localhost``, an IP address, or the ``host`` that the user chose is accepted.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()), *((key.encode(), value.encode()) for key, value in _HEADERS.items())
                ]  # fmt: skip
            await send(message)

        names = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        is_own = len(names) == 1 and self._is_own(names[0])
        app = self._app if is_own else PlainTextResponse(REFUSED, 421)
        await app(scope, receive, send_with_headers)

    def _is_own(self, header: str) -> bool:
        try:
            name = urlsplit(f"//{header}").hostname or ""
            if name in ("localhost", self._host):
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def live_app(feed: LiveFeed, page: str) -> FastAPI:
    """Return the app with the page and its messages. It has no documentation, and no CORS."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def show() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(feed.messages(), media_type="text/event-stream")

    return app


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: those of `fastbg tail` end it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(feed: LiveFeed, page: str, listener: socket.socket, host: str) -> AsyncIterator[None]:
    """Serve ``page`` on ``listener``. At the end, open connections are closed at once."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # connections inherit it
    config = uvicorn.Config(
        Guard(live_app(feed, page), host), log_config=None, access_log=False, lifespan="off", ws="none",
        server_header=False, proxy_headers=False,
    )  # fmt: skip
    server = _Server(config)
    tasks = [asyncio.create_task(each) for each in (server.serve([listener]), feed.watch())]
    try:
        yield
    finally:
        feed.close()
        server.should_exit = server.force_exit = True
        await asyncio.gather(*tasks)
