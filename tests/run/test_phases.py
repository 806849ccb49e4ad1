"""The client's events from the phases of httpcore, and when file sizes are read."""

from collections.abc import Mapping
from typing import Any

import pytest

from fastbg.run.phases import event_of

HEAD = {"return_value": (b"HTTP/1.1", 302, b"Found", [(b"Location", b"/there"), (b"X", b"y")])}
REFUSED = {"return_value": (b"HTTP/1.1", 405, b"No", [(b"Allow", b"GET")])}


@pytest.mark.parametrize(
    ("phase", "info", "name", "detail"),
    [
        ("http11.send_request_headers.started", {}, "request_sent", {"sizes": {"log.txt": 7}}),
        ("http11.receive_response_headers.complete", HEAD, "response_headers", {"status": 302, "location": "/there"}),
        (
            "http11.receive_response_headers.complete",
            REFUSED,
            "response_headers",
            {"status": 405, "location": "", "allow": "GET"},
        ),
        ("http11.receive_response_body.complete", {}, "response_complete", {"sizes": {"log.txt": 7}}),
    ],
)
def test_phase_is_an_event(phase: str, info: Mapping[str, Any], name: str, detail: Mapping[str, Any]) -> None:
    event = event_of(phase, info, "r1", lambda: {"log.txt": 7})
    assert event is not None
    assert (event.source, event.name, event.request_id, event.detail) == ("client", name, "r1", detail)


@pytest.mark.parametrize("phase", ["connection.connect_tcp.started", "http11.send_request_body.complete", "x", ""])
def test_other_phases_are_none(phase: str) -> None:
    assert event_of(phase, {}, "r1", dict) is None


def test_sizes_are_read_before_request_and_after_response(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr("fastbg.run.phases.monotonic_ns", lambda: next(now))

    def look() -> dict[str, int]:
        return {"looked at": next(now)}

    sent = event_of("http11.send_request_headers.started", {}, "r1", look)
    complete = event_of("http11.receive_response_body.complete", {}, "r1", look)
    assert sent is not None
    assert complete is not None
    assert sent.detail["sizes"]["looked at"] < sent.t_ns
    assert complete.t_ns < complete.detail["sizes"]["looked at"]
