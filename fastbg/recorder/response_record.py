"""The state of the response to one request."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Send

from fastbg.clock import monotonic_ns
from fastbg.recorder import journal_events
from fastbg.recorder.journal import Journal


class ResponseRecord:
    """Records when the response was sent. ``sizes``: returns the file sizes, None if they are not recorded."""

    status: int | None = None
    sent = False
    _handled: str | None = None
    _http_exception: tuple[int, str] | None = None

    def __init__(self, request_id: str, journal: Journal, sizes: Callable[[], Mapping[str, int] | None]) -> None:
        self._request_id = request_id
        self._journal = journal
        self._sizes = sizes

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
        size = 0

        def watched(message: Message) -> Awaitable[None]:
            nonlocal size
            kind = message["type"]
            if kind == "http.response.start":
                self.status = message["status"]
                error = sys.exception()
                if error is not None:  # an exception handler sends this response
                    self._handled = f"{type(error).__name__} {self.status}"
            elif kind == "http.response.body":
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return self._send_last(send, message, size)
            return send(message)

        return watched

    async def _send_last(self, send: Send, message: Message, size: int) -> None:
        files = self._sizes()
        sending_ns = monotonic_ns()
        await send(message)
        t_ns = monotonic_ns()
        self.sent = True
        cycle: Any = getattr(send, "__self__", None)  # uvicorn's, unless `send` is wrapped
        if getattr(cycle, "disconnected", False):
            self._journal.write(journal_events.response_lost(self._request_id, t_ns=t_ns, status=self.status))
            return
        files_after = self._sizes()
        self._journal.write(
            journal_events.response_sent(
                self._request_id,
                t_ns=t_ns,
                status=self.status,
                size=size,
                sending_ns=sending_ns,
                files=files,
                files_after=files_after if files_after != files else None,
                buffered=_buffered(cycle),
            )
        )


def _buffered(cycle: Any) -> int | None:
    """Return the number of bytes in the buffer of uvicorn's transport, None if unknown."""
    try:
        buffered: int = cycle.transport.get_write_buffer_size()
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return buffered
