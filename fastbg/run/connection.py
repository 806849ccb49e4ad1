"""One HTTP/1.1 connection: asyncio carries the bytes, h11 knows the protocol, httpx has the requests and responses.

httpx would send through httpcore and anyio. For a connection that carries one request, these take 0.6 ms of processor
time, as much as everything else that fastbg does for it. h11 comes with uvicorn.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import h11
import httpx

IDLE_S = 2.0  # how long a connection may wait for its next request; uvicorn closes it after 5 s
MAX_HEAD = 100 * 1024  # bytes of the status line and the headers
BLOCK = 64 * 1024  # bytes per read
HAPPY_EYEBALLS_S = 0.25  # until the next address of a host name is tried, too (RFC 8305)
PORTS = {"http": 80, "https": 443}

OnPhase = Callable[[str, Mapping[str, Any]], None]
"""Called with the phase that was just reached, named as httpcore does, and its details."""


def ignore(phase: str, info: Mapping[str, Any]) -> None:
    """Ignore what happens to a request, such as a probe."""


class Connection:
    """A connection to the server of its requests, opened for the first one. It has no timeout: the caller cancels.

    ``context``: for TLS. ``unix_socket``: the path of the server's socket, None for a TCP port. One request at a time:
    hold the ``lock`` from `send` to `finish`. Errors are those of httpx.
    """

    def __init__(self, context: ssl.SSLContext, unix_socket: str | None) -> None:
        self.lock = asyncio.Lock()
        self._context = context
        self._unix_socket = unix_socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._state = h11.Connection(h11.CLIENT, MAX_HEAD)
        self._used_s = 0.0  # when the last response was complete, by the clock of the event loop

    async def send(self, request: httpx.Request, on_phase: OnPhase) -> httpx.Response:
        """Send a request, and return the head of its response. Raises `httpx.TransportError`."""
        reader, writer = await self._open(request.url)
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            parts = [self._state.send(head), self._state.send(h11.Data(data=request.read()))]
            parts.append(self._state.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        on_phase("http11.send_request_headers.started", {})
        writer.write(b"".join(part for part in parts if part))
        with suppress(OSError):  # a server may close its side early and respond nevertheless
            await writer.drain()
        response = await self._event(reader)
        while isinstance(response, h11.InformationalResponse) and response.status_code != 101:
            response = await self._event(reader)
        headers = response.headers.raw_items()
        info = {"return_value": (response.http_version, response.status_code, response.reason, headers)}
        on_phase("http11.receive_response_headers.complete", info)
        return httpx.Response(response.status_code, headers=headers, request=request)

    async def body(self, on_phase: OnPhase = ignore) -> AsyncIterator[bytes]:
        """Yield the body of the response, as it is received. Raises `httpx.TransportError`."""
        assert self._streams is not None  # noqa: S101  # called after `send`
        while isinstance(event := await self._event(self._streams[0]), h11.Data):
            yield bytes(event.data)
        on_phase("http11.receive_response_body.complete", {})

    def finish(self) -> None:
        """End a request. The connection stays open for the next one, if the response was read to its end."""
        self._used_s = asyncio.get_running_loop().time()
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            self.close()

    def close(self) -> None:
        """Close the connection. The event loop closes its socket in its next turn."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self, url: httpx.URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the open streams, or new ones: the server may have closed a connection that waited."""
        if self._streams is not None:
            if not self._is_stale(self._streams[0]):
                self._state.start_next_cycle()
                return self._streams
            self.close()
        if url.scheme not in PORTS:
            raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol {url.scheme!r}")
        self._state = h11.Connection(h11.CLIENT, MAX_HEAD)
        try:
            self._streams = await self._connect(url)
        except OSError as error:
            raise httpx.ConnectError(str(error) if error.errno else "All connection attempts failed") from error
        return self._streams

    def _is_stale(self, reader: asyncio.StreamReader) -> bool:
        is_idle = asyncio.get_running_loop().time() - self._used_s > IDLE_S
        return is_idle or reader.at_eof() or reader.exception() is not None or bool(self._state.trailing_data[0])

    async def _connect(self, url: httpx.URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = url.raw_host.decode("ascii")
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": host} if url.scheme == "https" else {}
        if self._unix_socket is not None:
            return await asyncio.open_unix_connection(self._unix_socket, **tls)
        is_address = ":" in host or host.replace(".", "").isdigit()
        delay_s = None if is_address else HAPPY_EYEBALLS_S
        return await asyncio.open_connection(host, url.port or PORTS[url.scheme], happy_eyeballs_delay=delay_s, **tls)

    async def _event(self, reader: asyncio.StreamReader) -> Any:
        """Return the next event of the server. Its class is one of h11's, which has no type hints for this."""
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                data = await reader.read(BLOCK)
                if not data and self._state.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                self._state.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        return event
