"""Builds a finished run of two requests, for tests of the reports."""

from pathlib import Path

from fastbg.evidence.results import Group, RequestResult, RunResult, add_to_groups
from fastbg.evidence.trace import Trace, Write
from tests.support.traces import answered, event, finished, requested, sent, task, trace, wrote

VERSIONS = {"fastbg": "0", "python": "3", "fastapi": "1", "starlette": "2", "uvicorn": "3", "httpx": "4"}


def in_milliseconds(made: Trace) -> Trace:
    """Scale the times of a trace from nanoseconds to milliseconds."""
    made.events = [event(e.t_ns * 10**6, e.source, e.name, **e.detail) for e in made.events]
    for expected in made.expected.writes:
        expected.writes = [
            Write(write.file, write.text, write.t_ns * 10**6, write.offset, write.length) for write in expected.writes
        ]
    return made


def background() -> Trace:
    """Return a trace with the response after 2 ms and the write after 502 ms."""
    made = wrote(task(sent(answered(trace(), 1002, size=100), 1001, size=100), 1003, took_ns=497), 1502, offset=100)
    return in_milliseconds(finished(made))


def foreground() -> Trace:
    """Return a trace with the write after 499 ms and the response after 501 ms."""
    made = wrote(sent(answered(trace(verdict="work-first"), 1501, size=208), 1500, size=208), 1499, offset=200)
    return in_milliseconds(finished(requested(made, name="control", request_id="r2")))


def run(*traces: Trace, **changes: object) -> RunResult:
    requests = tuple(RequestResult.of(made) for made in traces or (background(), foreground()))
    groups: dict[tuple[str, str], Group] = {}
    for request in requests:
        add_to_groups(groups, request)
    settings: dict[str, object] = {
        "versions": VERSIONS,
        "name": "default",
        "server": "shop:app",
        "directory": Path("/data"),
        "journal": Path("/data/journal.jsonl"),
        "files": (Path("/data/README.md"), Path("/data/log.txt")),
        "work": 0.5,
        "requests": requests,
        "groups": tuple(groups.values()),
    }
    return RunResult(**(settings | changes))  # type: ignore[arg-type]  # the keys are the field names


def runs(*traces: Trace, **changes: object) -> list[RunResult]:
    """Return one run as a list, the input of the reports."""
    return [run(*traces, **changes)]
