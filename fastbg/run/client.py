"""Sends requests: httpx makes them, each goes through a `fastbg.run.connection`."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import httpx

from fastbg.clock import monotonic_ns
from fastbg.errors import ServerError
from fastbg.events import Event
from fastbg.recorder.request_ids import HEADER, add_ids
from fastbg.run.body import CODINGS, Body, BodyError
from fastbg.run.connection import Connection, OnPhase, ignore
from fastbg.run.phases import ReadSizes, event_of
from fastbg.server.address import Address

MAX_DOCUMENT = 8 * 2**20  # bytes of a fetched document

Parameters = Mapping[str, Any]  # strings, numbers, or lists of them


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request to send.

    ``files``: for each upload the field, then name, content and type. ``content``: a raw body. ``json``: the value of a
    JSON body if ``has_json``. ``connection``: the name of a shared connection. ``hang_up_after``: seconds from sending
    until the client closes the connection, unless `Client.hang_up` is called earlier.
    """

    method: str
    path: str
    query: Parameters = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    has_json: bool = False
    form: Parameters = field(default_factory=dict)
    files: Sequence[tuple[str, tuple[str, bytes, str]]] = ()
    content: bytes | None = None
    connection: str | None = None
    hang_up_after: float | None = None


class HeaderError(Exception):
    """A header or cookie that cannot be sent. The message does not show its value, which may be a secret."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response: status, headers, and the first bytes of the body."""

    head: httpx.Response
    body: Body

    @property
    def status(self) -> int:
        return self.head.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self.head.headers

    @property
    def cookies(self) -> Mapping[str, str]:
        return self.head.cookies


class _Connections:
    """The open connections: one per request, except those that a script shares by name.

    A request never uses the connection of an earlier one. A server may close it at any moment, and so cut off the later
    request: uvicorn does so after an exception in the app or in a task, and when the connection was idle too long. The
    client cannot see this in time.
    """

    def __init__(self, address: Address, *, verify: bool) -> None:
        self._unix_socket = address.unix_socket
        # Made once: it takes 0.24 ms, and with certificates more than 10 ms.
        self._context = httpx.create_ssl_context(verify=verify and address.url.startswith("https:"))
        self._context.set_alpn_protocols(["http/1.1"])
        self._used: dict[str, Connection] = {}  # by request id
        self._named: dict[str, Connection] = {}

    def acquire(self, request_id: str, name: str | None) -> Connection:
        """Return a new connection, or the shared connection ``name`` if given."""
        if name is not None:
            if name not in self._named:
                self._named[name] = self._new()
            return self._named[name]
        connection = self._used[request_id] = self._new()
        return connection

    def release(self, request_id: str) -> None:
        """Close the connection of a request, unless it is shared."""
        if request_id in self._used:
            self._used.pop(request_id).close()

    async def close(self) -> None:
        for connection in (*self._used.values(), *self._named.values()):
            connection.close()
        await asyncio.sleep(0)  # now the event loop has closed their sockets

    def _new(self) -> Connection:
        return Connection(self._context, self._unix_socket)


class _Unused(httpx.AsyncBaseTransport):
    """A placeholder: without a transport, `httpx.AsyncClient` would create one."""


class Client:
    """A client that sends requests to ``base_url``. It has no timeout: the caller cancels. Raises `ServerError`.

    ``base_url``: may be the `Address` of a Unix socket. ``verify``: check the server's certificate.

    ``read_sizes`` returns the size of each followed file in bytes. The client calls it right before it sends a request
    and right after it has received the response. A write beyond the second size happened after the response: no clock
    is needed.
    """

    def __init__(self, base_url: str, read_sizes: ReadSizes, *, verify: bool = True) -> None:
        address = Address.parse(base_url)
        try:
            self._http = httpx.AsyncClient(  # only to build requests
                base_url=address.url,
                headers={"Accept-Encoding": ", ".join(CODINGS)},
                timeout=None,  # noqa: S113
                transport=_Unused(),
            )
        except httpx.InvalidURL as error:
            raise ServerError(
                f"not a valid URL: {error}", where=base_url, remedy="write it as http://127.0.0.1:8000"
            ) from None
        self._parse = lru_cache(maxsize=256)(self._parsed)  # each is shown, and soon sent
        self._connections = _Connections(address, verify=verify)
        self._read_sizes = read_sizes
        self._timeouts: dict[str, asyncio.Timeout] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connections.close()
        await self._http.aclose()

    def url(self, path: str, query: Parameters) -> str:
        """Return the URL as it is sent, or only the path if the URL is not valid."""
        try:
            return str(self._parse(_target(path, query)))
        except httpx.InvalidURL:
            return path

    def release(self, request_id: str) -> None:
        """Release the connection of a request that the server has finished.

        Before that, the app would see that its client has disconnected.
        """
        self._connections.release(request_id)

    async def reach(self, request_id: str) -> str | None:
        """Send ``OPTIONS /``, which changes nothing in an app. Return the error, or None if a response starts."""
        request = self._http.build_request("OPTIONS", "/", headers={HEADER: request_id}, timeout=None)
        connection = self._connections.acquire(request_id, None)
        try:
            async with _respond(connection, request):
                return None
        except httpx.HTTPError as failure:
            return _describe_error(failure)
        finally:
            self._connections.release(request_id)

    async def fetch(self, path: str, request_id: str) -> bytes | None:
        """Return the body of a response with status 200 to ``GET path``, None for any other or a longer one."""
        request = self._http.build_request("GET", path, headers={HEADER: request_id}, timeout=None)
        connection = self._connections.acquire(request_id, None)
        try:
            async with _respond(connection, request) as response:
                body = Body(response.headers.get("content-encoding", ""), MAX_DOCUMENT)
                async for piece in connection.body():
                    body.add(piece)
                    if body.cut:
                        return None
                body.end()
        except (httpx.HTTPError, BodyError):
            return None
        finally:
            self._connections.release(request_id)
        return body.kept if response.status_code == 200 else None

    def hang_up(self, request_id: str) -> None:
        """Close the connection of an open request."""
        if request_id in self._timeouts:
            self._timeouts[request_id].reschedule(asyncio.get_running_loop().time())

    async def send(self, outgoing: OutgoingRequest, request_id: str, emit: Callable[[Event], None]) -> Response | None:
        """Send a request with its id in the headers. Call ``emit`` immediately with each event.

        Events: ``request_sent`` {sizes}, ``response_headers`` {status; location}, ``response_complete`` {sizes};
        ``request_failed`` {error} without a complete response; then None is returned. Redirects are not followed.
        """
        hang_up = self._timeouts[request_id] = asyncio.timeout(None)

        def on_phase(phase: str, info: Mapping[str, Any]) -> None:
            event = event_of(phase, info, request_id, self._read_sizes)
            if event is None:
                return
            emit(event)
            if event.name == "request_sent" and outgoing.hang_up_after is not None:
                hang_up.reschedule(asyncio.get_running_loop().time() + outgoing.hang_up_after)

        connection = self._connections.acquire(request_id, outgoing.connection)
        try:
            request = self._request(outgoing, request_id)
            async with hang_up, _respond(connection, request, on_phase) as response:
                body = Body(response.headers.get("content-encoding", ""))
                async for piece in connection.body(on_phase):
                    body.add(piece)
                body.end()
        except TimeoutError:
            when = "when a task was queued" if outgoing.hang_up_after is None else f"after {outgoing.hang_up_after:g} s"
            error = f"the client disconnected {when}"
        except (BodyError, HeaderError) as failure:
            error = str(failure)
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            error = _describe_error(failure)
        else:
            return Response(response, body)
        finally:
            del self._timeouts[request_id]
        emit(Event(monotonic_ns(), "client", "request_failed", request_id, {"error": error}))
        self._connections.release(request_id)
        return None

    def _request(self, outgoing: OutgoingRequest, request_id: str) -> httpx.Request:
        for kind, values in (("header", outgoing.headers), ("cookie", outgoing.cookies)):
            for name, value in values.items():
                if not value.isprintable() or value != value.strip():
                    raise HeaderError(f"the {kind} {name} has a control character, or a space at an end of its value")
        encoded = httpx.Headers([(name.encode(), value.encode()) for name, value in outgoing.headers.items()])
        if outgoing.cookies:
            encoded["Cookie"] = "; ".join(f"{name}={value}" for name, value in outgoing.cookies.items())
        add_ids(encoded, request_id)
        body: dict[str, Any] = {}
        if outgoing.has_json:
            body["json"] = outgoing.json
        if outgoing.form:
            body["data"] = dict(outgoing.form)
        if outgoing.files:
            body["files"] = list(outgoing.files)
        if outgoing.content is not None:
            body["content"] = outgoing.content
        url = self._parse(_target(outgoing.path, outgoing.query))
        return self._http.build_request(outgoing.method, url, headers=encoded, **body)

    def _parsed(self, target: str) -> httpx.URL:
        return self._http.build_request("GET", target).url


def _target(path: str, query: Parameters) -> str:
    """Return ``path`` with the parameters after those that it has: httpx would replace these."""
    return f"{path}{'&' if '?' in path else '?'}{httpx.QueryParams(dict(query))}" if query else path


def _describe_error(failure: Exception) -> str:
    why = _cause(failure) or str(failure)
    return f"{type(failure).__name__}: {why}" if why else type(failure).__name__


def _cause(failure: BaseException) -> str:
    """Return the operating system's message that libraries have wrapped, or an empty string."""
    cause: BaseException | None = failure
    while cause is not None:
        is_system_error = isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError | socket.gaierror)
        if isinstance(cause, OSError) and is_system_error and cause.errno and cause.strerror:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return ""


@asynccontextmanager
async def _respond(
    connection: Connection, request: httpx.Request, on_phase: OnPhase = ignore
) -> AsyncIterator[httpx.Response]:
    async with connection.lock:
        try:
            yield await connection.send(request, on_phase)
        finally:
            connection.finish()
