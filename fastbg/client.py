"""Fires requests with httpx and stamps their phases.

The stamps come from httpcore's ``trace`` extension (https://www.encode.io/httpcore/extensions/#trace), which calls
back inside the read and write of the connection: nothing of httpx's own work stands between.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from fastbg.events import Event

BODY_LIMIT = 64 * 1024  # bytes of a response body that are kept; the rest is read and counted only

Look = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: the status, the first `BODY_LIMIT` bytes of the body, and how long the body was in bytes."""

    status: int
    body: bytes
    length: int


class _OwnConnections(httpx.AsyncBaseTransport):
    """A connection for each request, open until the end as a browser's would be.

    On a shared one the requests would not be independent: where a background task raises, uvicorn closes the
    connection that its request came by, and with it cuts off the answer to a later request.
    """

    def __init__(self) -> None:
        self._context = httpx.create_ssl_context()
        self._transports: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(verify=self._context)
        self._transports.append(transport)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports:
            await transport.aclose()


class Client:
    """Sends requests to ``base_url``. ``timeout``: seconds for each phase of a request.

    ``look`` tells the size of each followed file in bytes. The client asks it right before it sends and right
    after it has the whole response: a write behind the later size came after the response, whatever a clock says.
    """

    def __init__(self, base_url: str, *, timeout: float, look: Look) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=_OwnConnections())
        self._look = look

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    def url(self, path: str, query: Mapping[str, str]) -> str:
        """The whole URL of a request, as it is sent."""
        return str(self._http.build_request("GET", path, params=dict(query) or None).url)

    async def fire(
        self, method: str, path: str, query: Mapping[str, str], request_id: str, emit: Callable[[Event], None]
    ) -> Response | None:
        """Send one request under the header ``X-Request-ID`` and hand each event to ``emit`` at once.

        Events: ``request_sent`` {sizes}, ``response_headers`` {status}, ``response_complete`` {sizes}; where no
        whole response comes, ``request_failed`` {error} and None is returned.
        """

        async def trace(phase: str, info: Mapping[str, Any]) -> None:
            t_ns = time.monotonic_ns()
            match phase.partition(".")[2]:
                case "send_request_headers.started":
                    sizes = self._look()
                    emit(Event(time.monotonic_ns(), "client", "request_sent", request_id, {"sizes": sizes}))
                case "receive_response_headers.complete":
                    status = info["return_value"][1]
                    emit(Event(t_ns, "client", "response_headers", request_id, {"status": status}))
                case "receive_response_body.complete":
                    emit(Event(t_ns, "client", "response_complete", request_id, {"sizes": self._look()}))

        try:
            async with self._http.stream(
                method,
                path,
                params=dict(query) or None,
                headers={"X-Request-ID": request_id},
                extensions={"trace": trace},
            ) as response:
                kept, length = bytearray(), 0
                async for piece in response.aiter_bytes():
                    kept += piece[: BODY_LIMIT - len(kept)]
                    length += len(piece)
                return Response(response.status_code, bytes(kept), length)
        except httpx.HTTPError as error:
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            emit(Event(time.monotonic_ns(), "client", "request_failed", request_id, {"error": told}))
            return None
