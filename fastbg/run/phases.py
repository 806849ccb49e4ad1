"""The client's events, from the phases that `fastbg.run.connection` or httpcore's ``trace`` extension reports.

Both (https://www.encode.io/httpcore/extensions/#trace) call back from inside the connection, so the times do not
include the work of httpx.
"""

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from fastbg.clock import monotonic_ns
from fastbg.events import Event

ReadSizes = Callable[[], Mapping[str, int]]


def event_of(phase: str, info: Mapping[str, Any], request_id: str, read_sizes: ReadSizes) -> Event | None:
    """Return the event for a ``phase`` that has just been reached, or None if the phase has no event.

    ``read_sizes`` returns the size of each followed file in bytes. It is called right before the request is sent, and
    right after the response is complete.
    """
    t_ns = monotonic_ns()
    match phase.partition(".")[2]:
        case "send_request_headers.started":
            sizes = read_sizes()
            return Event(monotonic_ns(), "client", "request_sent", request_id, {"sizes": sizes})
        case "receive_response_headers.complete":
            _, status, _, raw_headers = info["return_value"]
            headers = httpx.Headers(raw_headers)
            detail = {"status": status, "location": headers.get("location", "")}
            if status == 405:
                detail["allow"] = headers.get("allow", "")
            return Event(t_ns, "client", "response_headers", request_id, detail)
        case "receive_response_body.complete":
            return Event(t_ns, "client", "response_complete", request_id, {"sizes": read_sizes()})
    return None
