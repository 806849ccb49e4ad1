"""The reason of an unmet expectation: what the client received, and what the server raised."""

from collections.abc import Iterator
from pathlib import Path

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from fastbg.text import escape_control

MAX_BODY = 200  # characters
MAX_LINES = 100  # of a traceback from a journal, which any program may have written


def reasons_of(result: RequestResult) -> list[str]:
    """Return lines without control characters, to show below the first unmet expectation of a request."""
    trace = result.trace
    lines = [*response(trace), *similar_routes(trace)] if trace.status not in trace.expected.statuses else []
    return [*lines, *exceptions(trace)]


def response(trace: Trace) -> Iterator[str]:
    """Yield the beginning of the body."""
    text = trace.body.text.strip()
    if text:
        cut = len(text) > MAX_BODY or trace.body.cut
        yield f"body: {escape_control(text[:MAX_BODY])}{'…' * cut}"


def similar_routes(trace: Trace) -> Iterator[str]:
    """Yield what the app offers instead of the requested route."""
    if trace.allow:
        yield escape_control(f"{trace.request.path} allows {trace.allow}")
    if trace.similar_routes:
        yield escape_control(f"routes that are near: {', '.join(trace.similar_routes)}")


def exceptions(trace: Trace) -> Iterator[str]:
    """Yield the traceback of each task that failed unexpectedly, or else of the request."""
    failed = [task for task in trace.tasks if task.state == "failed"]  # the request then has the same exception
    for task in failed if trace.expected.verdict != "failed" else ():
        if task.traceback:
            first, *frames = traceback_lines(task.traceback)
            yield from (f"{escape_control(task.name)}: {first}", *frames)
    if trace.traceback and not failed:
        yield from traceback_lines(trace.traceback)


def traceback_lines(text: str) -> list[str]:
    """Return the lines of a recorded traceback, with paths relative to the current folder."""
    here = f"  {Path.cwd()}/"
    return [
        ("  " + line.removeprefix(here) if line.startswith(here) else line)
        for line in map(escape_control, text.split("\n")[:MAX_LINES])
    ]
