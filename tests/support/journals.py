"""Reads a server's journal while the server runs."""

import json
import time
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE_S

Fields = dict[str, Any]


def read(journal: Path) -> list[Fields]:
    """Every event that stands in ``journal``; a line that is none fails the test, unless it is still being written."""
    whole, _, _ = journal.read_bytes().rpartition(b"\n") if journal.exists() else (b"", b"", b"")
    return [json.loads(line) for line in whole.split(b"\n") if line]


def events(journal: Path, request_id: str, *, until: str = "request_finished", times: int = 1) -> list[Fields]:
    """The events of a request, as soon as ``until`` is among them so many ``times``."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = [event for event in read(journal) if event["request"] == request_id]
        if sum(event["event"] == until for event in found) >= times:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{until} of {request_id} did not come to {journal}")


def told(found: list[Fields]) -> list[str]:
    """What happened, in short: ``task_started tests.app.work 0``."""
    keys = ("event", "task", "n", "reason")
    return [" ".join(str(event[key]) for key in keys if key in event) for event in found]
