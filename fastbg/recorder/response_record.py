"""The state of the response to one request.

A response is sent when the last byte that HTTP gives it is sent, which may be long before the last ASGI message. With
HEAD, 204 and 304 that byte is in the headers. With a Content-Length it is the byte that reaches this length. Otherwise
it is sent with the last message (RFC 9112, 6.3).
"""

import gc
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Scope, Send

from fastbg.clock import monotonic_ns
from fastbg.recorder import journal_events
from fastbg.recorder.connections import UNKNOWN, buffers_headers, connection_of
from fastbg.recorder.files import RequestFiles
from fastbg.recorder.held_response import HeldResponse
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import JsonText

_WITHOUT_BODY = (204, 304)
_LENGTHS = {14, 17}  # of the names content-length and transfer-encoding
_TCP_CLOSE = 7  # state of a connection that was reset (Linux, include/net/tcp_states.h)
_FILE = "http.response.pathsend"  # the server reads the body from a file
_ENDS_WITH_CONNECTION = "the response ends with its connection, and the end of a connection is not recorded"
_buffer_size: Callable[[Any], int] = methodcaller("get_write_buffer_size")
_NO_BUFFER = "the recorder cannot ask this server for its write buffer"


class ResponseRecord:
    """Records when the response was sent."""

    status: int | None = None
    sent = False
    is_over = False  # `sent`, or the client had disconnected
    _size = 0  # bytes of the body
    _length: int | None = None  # bytes of the body that complete it; None: the last message completes it
    _has_trailers = False
    _sending_ns: int | None = None  # just before the last byte was given to the server
    _sizes: Mapping[str, int] | None = None  # of the files at the same time
    _changed: Sequence[str] = ()  # the files that had changed then
    _handled: str | None = None
    _http_exception: tuple[int, str] | None = None
    _connection: Any = UNKNOWN  # the server's, of no public type
    held: HeldResponse | None = None  # if the server still holds a part of it

    def __init__(self, request: JsonText, scope: Scope, journal: Journal, files: RequestFiles | None) -> None:
        self._request = request
        self._method, self._http_version = scope["method"], scope.get("http_version")
        self._journal = journal
        self._files = files

    @property
    def handled(self) -> str | None:
        """The exception that this response was made from, None if no exception was recorded."""
        if self._handled is None and self._http_exception and self._http_exception[0] == self.status:
            return self._http_exception[1]
        return self._handled

    def add_http_exception(self, error: HTTPException) -> None:
        """Store an HTTPException that was created. It may never be raised."""
        self._http_exception = error.status_code, f"{type(error).__name__} {error.status_code}"

    def watch(self, send: Send) -> Send:
        self._connection = connection_of(send)

        def watched(message: Message) -> Awaitable[None]:
            if self.is_over:
                return send(message)
            try:
                kind = message["type"]
                if kind == "http.response.body":
                    self._size = size = self._size + len(message.get("body", b""))
                    is_last = not (message.get("more_body") or self._has_trailers)
                    is_end = is_last if self._length is None else size == self._length
                elif kind == "http.response.start":
                    is_last = False
                    is_end = message["status"] >= 200 and self._start(message)
                else:
                    is_last = kind == _FILE or (
                        kind == "http.response.trailers" and not message.get("more_trailers", False)
                    )
                    is_end = kind == _FILE or (is_last and self._length in (None, self._size))
            except (AttributeError, LookupError, TypeError, ValueError):  # not a valid message: the server refuses it
                return send(message)
            return self._send_end(send, message, is_last) if is_end else send(message)

        return watched

    def finish(self) -> None:
        """Record that the app's call has ended: it sends nothing more."""
        if self.is_over:
            return
        t_ns = monotonic_ns()
        if getattr(self._connection, "disconnected", False):  # the server discards what it is given
            self._write_lost(t_ns, None)
        elif self._sending_ns is not None:  # the last message is missing, but no byte
            self._write_sent(t_ns, self._sending_ns, _transports(self._connection), None, None)
        elif self.status is not None:
            announced = "" if self._length is None else f", announced {self._length}"
            self._write_lost(t_ns, f"the app did not complete the response: {self._size} bytes{announced}")

    def _start(self, message: Message) -> bool:
        """Store the head of the response, and return whether it has no body."""
        self.status = status = message["status"]
        error = sys.exception()
        if error is not None:  # an exception handler sends this response
            self._handled = f"{type(error).__name__} {status}"
        if message.get("trailers"):
            self._has_trailers = True
        if self._method == "HEAD" or status in _WITHOUT_BODY:
            self._length = 0
        else:
            self._length = _announced_length(message.get("headers", ()))
        return self._length == 0

    async def _send_end(self, send: Send, message: Message, is_last: bool) -> None:
        """Send a message with which the response is complete.

        A server that is not known may keep it until the last message.
        """
        files, changed = (None, ()) if self._files is None else self._files.sizes_and_changed()
        connection = self._connection
        was_disconnected = getattr(connection, "disconnected", False)
        sending_ns = monotonic_ns()
        await send(message)
        t_ns = monotonic_ns()
        if self._sending_ns is None:
            self._sizes, self._changed, self._sending_ns = files, changed, sending_ns
        transports = _transports(connection)
        if was_disconnected or getattr(connection, "disconnected", False) or _is_reset(transports):
            self._write_lost(t_ns, None)
        elif is_last or not self._keeps(message):
            after = None if files is None else self._sizes_now()
            self._write_sent(t_ns, self._sending_ns, transports, self._sizes, after)

    def _write_sent(
        self, t_ns: int, sending_ns: int, transports: Sequence[Any],
        files: Mapping[str, int] | None, files_after: Mapping[str, int] | None,
    ) -> None:  # fmt: skip
        self.sent = self.is_over = True
        buffered, detail = _buffered(transports), None
        if self._length is None and self._http_version == "1.0":
            buffered, detail = None, _ENDS_WITH_CONNECTION
        elif buffered is None:
            detail = _NO_BUFFER
        elif buffered:
            self.held = HeldResponse(
                self._request,
                self._journal,
                self._connection,
                partial(_buffered, transports),
                partial(_is_reset, transports),
                self._sizes_now,
            )
        self._journal.write_later(
            journal_events.response_sent(
                self._request, t_ns, self.status, self._size, sending_ns, buffered,
                files, None if files_after == files else files_after, self._changed, detail,
            )
        )  # fmt: skip

    def _sizes_now(self) -> Mapping[str, int] | None:
        return None if self._files is None else self._files.sizes()

    def _keeps(self, message: Message) -> bool:
        """Return whether the server may not write this message before the next one."""
        if self._connection is UNKNOWN:
            return True
        return message["type"] == "http.response.start" and buffers_headers(self._connection)

    def _write_lost(self, t_ns: int, detail: str | None) -> None:
        self.is_over = True
        self._journal.write(journal_events.response_lost(self._request, t_ns=t_ns, status=self.status, detail=detail))


def _announced_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return the Content-Length, None if the response does not have one, or does not use it."""
    length = None
    for name, value in headers:
        if len(name) in _LENGTHS:  # most headers are others
            if name.lower() == b"content-length" and value.isdigit():
                length = int(value)
            elif name.lower() == b"transfer-encoding":
                return None
    return length


def _buffered(transports: Sequence[Any]) -> int | None:
    """Return the number of bytes in the buffers of the `_transports`, None if unknown."""
    try:
        return sum(map(_buffer_size, transports)) if transports else None
    except (AttributeError, RuntimeError, NotImplementedError):
        return None


def _is_reset(transports: Sequence[Any]) -> bool:
    """Return whether a write has failed: the transport discards all that follows, before it tells uvicorn.

    The transport is closing then. It is closing also if uvicorn does not keep the connection.
    """
    try:
        if not transports or not transports[-1].is_closing():
            return False
        info: bytes = transports[-1].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (AttributeError, RuntimeError, NotImplementedError):  # also on systems without TCP_INFO
        return False
    except (OSError, ValueError):  # the socket is closed; ValueError is uvloop's
        return True
    return info[0] == _TCP_CLOSE


def _transports(connection: Any) -> Sequence[Any]:
    """Return the transport and, with TLS, the one below it; empty if they are not found."""
    try:
        transport = connection.transport
        if transport.get_extra_info("sslcontext") is None:
            return (transport,)
        protocol = getattr(transport, "_ssl_protocol", None)
        if protocol is not None:
            return transport, protocol._transport
        # uvloop has no attribute for it, only the references in C. Finding them takes 5 us.
        return transport, _referent(_referent(transport, "SSLProtocol"), "TCPTransport")
    except (AttributeError, RuntimeError, NotImplementedError):
        return ()


def _referent(holder: object, name: str) -> Any:
    """Return the object of the type ``name`` that ``holder`` refers to. Raises `AttributeError`."""
    for each in gc.get_referents(holder):
        if type(each).__name__ == name:
            return each
    raise AttributeError(name)
