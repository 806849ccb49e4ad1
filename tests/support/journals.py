"""Reads a server's journal while the server runs."""

import json
import time
from pathlib import Path
from typing import Any

from fastbg.clock import monotonic_ns
from fastbg.recorder.journal_events import Line, request_received, request_text
from tests.support.processes import PATIENCE_S

Fields = dict[str, Any]


def read(journal: Path) -> list[Fields]:
    """Return all events of ``journal``. An invalid line fails the test; an incomplete last line is ignored."""
    whole, _, _ = journal.read_bytes().rpartition(b"\n") if journal.exists() else (b"", b"", b"")
    return [json.loads(line) for line in whole.split(b"\n") if line]


def events_of(journal: Path, request_id: str, *, until: str = "request_finished", times: int = 1) -> list[Fields]:
    """Wait until the event ``until`` of a request is there ``times`` times, and return the request's events."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = [event for event in read(journal) if event["request"] == request_id]
        if sum(event["event"] == until for event in found) >= times:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{until} of {request_id} is missing in {journal}")


def describe_events(found: list[Fields]) -> list[str]:
    """Return a short text per event: ``task_started tests.app.work 0``."""
    keys = ("event", "task", "n", "reason")
    return [" ".join(str(event[key]) for key in keys if key in event) for event in found]


def received(request_id: str, path: str = "/") -> Line:
    """Return the line of a request that is received now."""
    return request_received(request_text(request_id), "GET", path, t_ns=monotonic_ns())
