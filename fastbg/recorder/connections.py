"""Finds the connection behind the ``send`` that a server gives to the app. All of it is private to the servers.

A connection has ``transport``, of asyncio or uvloop, and ``disconnected``: the server discards what the app sends.
uvicorn's object for a request has both. A server that is not named here, or another version of it, gives `UNKNOWN`.
"""

from collections.abc import Hashable
from functools import lru_cache
from types import FunctionType
from typing import Any

_GUNICORN = "ASGIProtocol._handle_http_request.<locals>.send"  # HTTP/1; with HTTP/2 a later step writes


class _Unknown:
    transport = None
    disconnected = False


UNKNOWN = _Unknown()


def connection_of(send: Any) -> Any:
    owner = getattr(send, "__self__", None)
    if _is_uvicorns(type(owner)):  # type: ignore[arg-type]  # mypy does not know that classes are hashable
        return owner
    try:
        if type(owner).__module__ == "hypercorn.protocol.http_stream":
            return _HypercornConnection(owner)
        if type(send) is FunctionType and send.__qualname__ == _GUNICORN:
            return _GunicornConnection(send)
    except (AttributeError, KeyError, ValueError):
        pass
    return UNKNOWN


@lru_cache(16)
def _is_uvicorns(kind: Hashable) -> bool:
    return kind.__module__.startswith("uvicorn.")


def buffers_headers(connection: Any) -> bool:
    """Return whether the server keeps the headers until the first message of the body."""
    return isinstance(connection, _GunicornConnection)


class _HypercornConnection:
    """HTTP/1 of Hypercorn with asyncio or uvloop. Raises `AttributeError` for HTTP/2, HTTP/3 and trio."""

    def __init__(self, stream: Any) -> None:
        protocol = stream.send.__self__
        if type(protocol).__name__ != "H11Protocol":
            raise AttributeError(type(protocol).__name__)
        self._stream = stream
        self._writer = protocol.send.__self__.writer

    @property
    def transport(self) -> Any:
        """Raises `AttributeError` after Hypercorn has closed the connection, which it also does with the last byte."""
        if self._writer.transport.is_closing():
            raise AttributeError("closed")
        return self._writer.transport

    @property
    def disconnected(self) -> bool:
        return bool(self._stream.closed) and self._stream.state.name != "CLOSED"  # it is closed after the response, too


class _GunicornConnection:
    """HTTP/1 of Gunicorn's own worker for ASGI."""

    def __init__(self, send: FunctionType) -> None:
        variables = dict(zip(send.__code__.co_freevars, send.__closure__ or (), strict=True))
        self._protocol = variables["self"].cell_contents
        self.transport = self._protocol.transport

    @property
    def disconnected(self) -> bool:
        return bool(self._protocol._closed)
