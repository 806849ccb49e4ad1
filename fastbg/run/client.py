"""Sends requests with httpx."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from fastbg.errors import ServerError
from fastbg.events import Event
from fastbg.run.body import CODINGS, Body, BodyError
from fastbg.run.phases import Look, event_of

IDLE_S = 2.0  # how long a connection may wait for its next request; uvicorn closes it after 5 s

Parameters = Mapping[str, Any]  # texts, numbers, or lists of them


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send.

    ``files``: for each upload its field, then name, content and type. ``content``: a raw body. ``json``: the value of a
    JSON body if ``has_json``. ``connection``: name of a connection that requests share. ``hang_up_after``: seconds from
    sending until the client closes the connection, unless `Client.hang_up` is called earlier.
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


@dataclass(frozen=True, slots=True)
class Response:
    """A response: status, headers, and the beginning of the body."""

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
    """One connection per open request; it is used again when the server has finished its request.

    Requests on a shared connection would not be independent: when a background task raises, uvicorn closes the
    connection of its request, and so cuts off the response to a later request on it.
    """

    def __init__(self, base_url: str) -> None:
        # Loading the certificates takes longer than many a request.
        self._verify = httpx.create_ssl_context() if base_url.startswith("https:") else False
        self._free: list[httpx.AsyncHTTPTransport] = []
        self._spoilt: list[httpx.AsyncHTTPTransport] = []
        self._used: dict[str, httpx.AsyncHTTPTransport] = {}
        self._named: dict[str, httpx.AsyncHTTPTransport] = {}

    def take(self, request_id: str, name: str | None) -> httpx.AsyncHTTPTransport:
        """Return a connection for that request; the one called ``name``, if given."""
        if name is not None:
            if name not in self._named:
                self._named[name] = self._new()
            return self._named[name]
        transport = self._free.pop() if self._free else self._new()
        self._used[request_id] = transport
        return transport

    def give_back(self, request_id: str, *, clean: bool) -> None:
        """Take back the connection of a request that is over; use it again if it ended ``clean``."""
        if request_id in self._used:
            (self._free if clean else self._spoilt).append(self._used.pop(request_id))

    async def close_spoilt(self) -> None:
        """Close the connections that must not be used again."""
        while self._spoilt:
            await self._spoilt.pop().aclose()

    async def close(self) -> None:
        self._spoilt += [*self._free, *self._used.values(), *self._named.values()]
        await self.close_spoilt()

    def _new(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=IDLE_S)
        return httpx.AsyncHTTPTransport(verify=self._verify, limits=limits)


class _Unused(httpx.AsyncBaseTransport):
    """Keeps `httpx.AsyncClient` from making a transport of its own."""


class Client:
    """Sends requests to ``base_url`` without a timeout: the caller cancels. Raises `ServerError`.

    ``look`` returns the size of each followed file in bytes. The client calls it right before it sends and right after
    it has the whole response: a write behind the later size came after the response, independent of any clock.
    """

    def __init__(self, base_url: str, look: Look) -> None:
        try:
            self._http = httpx.AsyncClient(  # it makes requests
                base_url=base_url,
                headers={"Accept-Encoding": ", ".join(CODINGS)},
                timeout=None,  # noqa: S113
                transport=_Unused(),
            )
        except httpx.InvalidURL as error:
            raise ServerError(
                f"not a valid URL: {error}", where=base_url, remedy="write it as http://127.0.0.1:8000"
            ) from None
        self._connections = _Connections(base_url)
        self._look = look
        self._under_way: dict[str, asyncio.Timeout] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connections.close()
        await self._http.aclose()

    def url(self, path: str, query: Parameters) -> str:
        """Return the URL of a request as it is sent; the path alone if it is not a valid URL."""
        try:
            return str(self._http.build_request("GET", path, params=dict(query) or None).url)
        except httpx.InvalidURL:
            return path

    def give_back(self, request_id: str, *, clean: bool) -> None:
        """Release the connection of a request that the server has finished; ``clean``: use it again."""
        self._connections.give_back(request_id, clean=clean)

    async def reach(self, request_id: str) -> str | None:
        """Send OPTIONS /, which changes nothing in an app. Return why no response begins, None if one does."""
        headers = {"X-Request-ID": request_id}
        request = self._http.build_request("OPTIONS", "/", headers=headers, timeout=None)
        transport = self._connections.take(request_id, None)
        try:
            async with _answer(transport, request):
                return None
        except httpx.HTTPError as failure:
            return _told(failure)
        finally:
            self._connections.give_back(request_id, clean=False)

    def hang_up(self, request_id: str) -> None:
        """Close the connection of that request, if it is still open."""
        if request_id in self._under_way:
            self._under_way[request_id].reschedule(asyncio.get_running_loop().time())

    async def fire(self, outgoing: Outgoing, request_id: str, emit: Callable[[Event], None]) -> Response | None:
        """Send one request with the header ``X-Request-ID``, and call ``emit`` with each event at once.

        Events: ``request_sent`` {sizes}, ``response_headers`` {status; location}, ``response_complete`` {sizes};
        ``request_failed`` {error} without a whole response, and None is returned. Redirects are not followed.
        """
        hanging_up = self._under_way[request_id] = asyncio.timeout(None)

        async def trace(phase: str, info: Mapping[str, Any]) -> None:
            event = event_of(phase, info, request_id, self._look)
            if event is None:
                return
            emit(event)
            if event.name == "request_sent" and outgoing.hang_up_after is not None:
                hanging_up.reschedule(asyncio.get_running_loop().time() + outgoing.hang_up_after)

        await self._connections.close_spoilt()
        transport = self._connections.take(request_id, outgoing.connection)
        try:
            async with hanging_up, _answer(transport, self._request(outgoing, request_id, trace)) as response:
                body = Body(response.headers.get("content-encoding", ""))
                async for piece in response.aiter_raw():
                    body.add(piece)
                body.end()
        except TimeoutError:
            when = "when a task was queued" if outgoing.hang_up_after is None else f"after {outgoing.hang_up_after:g} s"
            error = f"the client hung up {when}"
        except BodyError as failure:
            error = str(failure)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as failure:
            error = _told(failure)
        else:
            return Response(response, body)
        finally:
            del self._under_way[request_id]
        emit(Event(time.monotonic_ns(), "client", "request_failed", request_id, {"error": error}))
        self._connections.give_back(request_id, clean=False)
        return None

    def _request(self, outgoing: Outgoing, request_id: str, trace: Callable[..., Any]) -> httpx.Request:
        headers = {"X-Request-ID": request_id, **outgoing.headers}
        if outgoing.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in outgoing.cookies.items())
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        body: dict[str, Any] = {}
        if outgoing.has_json:
            body["json"] = outgoing.json
        if outgoing.form:
            body["data"] = dict(outgoing.form)
        if outgoing.files:
            body["files"] = list(outgoing.files)
        if outgoing.content is not None:
            body["content"] = outgoing.content
        return self._http.build_request(
            outgoing.method,
            outgoing.path,
            params=dict(outgoing.query) or None,
            headers=encoded,
            extensions={"trace": trace},
            **body,
        )


def _told(failure: Exception) -> str:
    why = _cause(failure) or str(failure)
    return f"{type(failure).__name__}: {why}" if why else type(failure).__name__


def _cause(failure: BaseException) -> str:
    """Return the system's own message where libraries have wrapped it, or an empty text."""
    cause: BaseException | None = failure
    while cause is not None:
        numbered = isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError | socket.gaierror)
        if isinstance(cause, OSError) and numbered and cause.errno and cause.strerror:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return ""


@asynccontextmanager
async def _answer(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    response = await transport.handle_async_request(request)
    response.request = request
    try:
        yield response
    finally:
        await response.aclose()
