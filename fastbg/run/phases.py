"""The client's events, from the phases that httpcore's ``trace`` extension reports.

httpcore (https://www.encode.io/httpcore/extensions/#trace) calls back inside the read and write of the connection, so
the times contain none of httpx's own work.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from fastbg.events import Event

Look = Callable[[], Mapping[str, int]]


def event_of(phase: str, info: Mapping[str, Any], request_id: str, look: Look) -> Event | None:
    """Return the event of a ``phase`` that has just been reached, None for the other phases.

    ``look`` returns the size of each followed file in bytes. It is called right before the request is sent, and right
    after the whole response has been received.
    """
    t_ns = time.monotonic_ns()
    match phase.partition(".")[2]:
        case "send_request_headers.started":
            sizes = look()
            return Event(time.monotonic_ns(), "client", "request_sent", request_id, {"sizes": sizes})
        case "receive_response_headers.complete":
            _, status, _, headers = info["return_value"]
            detail = {"status": status, "location": httpx.Headers(headers).get("location", "")}
            return Event(t_ns, "client", "response_headers", request_id, detail)
        case "receive_response_body.complete":
            return Event(t_ns, "client", "response_complete", request_id, {"sizes": look()})
    return None
