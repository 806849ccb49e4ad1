"""What happened to a request, in words: each event with its time and its witness."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fastbg.events import Event
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.results import RequestResult
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import Write
from fastbg.report.moments import of_this_boot
from fastbg.report.numbers import milliseconds


class Moment(NamedTuple):
    """Something that a witness saw. ``ms``: None if its time cannot be compared. ``kind``: of its mark, or empty."""

    ms: float | None
    witness: str
    text: str
    kind: str = ""


_PLACES = {"thread": " in a thread", "loop": " in the event loop", "worker": " in a worker"}
_ENDS = {"task_failed": "failed", "task_dropped": "dropped"}
_CLIENT_KINDS = _ENDS | {"response_complete": "response"}
_SERVER_KINDS = _ENDS | {"response_sent": "response"}


def moments_of_result(result: RequestResult) -> list[Moment]:
    """Return what client, server and files saw of a request that fastbg sent, in the order of time."""
    events = ((event, result.ms(event.t_ns) if of_this_boot(event) else None) for event in result.trace.events)
    return _sorted([*_moments(events, _CLIENT_KINDS), *_writes(result.trace.writes, result)])


def moments_of_record(request: RecordedRequest) -> list[Moment]:
    """Return what the server recorded of a request, and what was seen in files, in the order of time."""
    events = ((event, request.ms(event.t_ns)) for event in _events_of(request))
    return _sorted([*_moments(events, _SERVER_KINDS), *_writes(request.writes, request)])


def span_words(task: Task, ms: float | None) -> str:
    """Return what a task did while it ran. ``ms``: how long, None without an end."""
    took = "" if ms is None else f", {'not finished after ' if task.is_open else ''}{milliseconds(ms)} ms"
    blocked = f", blocked the event loop for {milliseconds(task.blocked_ms)} ms" if task.blocked_ms else ""
    waited = f", waited {milliseconds(task.waited_ms)} ms for a thread" if task.waited_ms else ""
    return f"{task.name}{_place(task.where)}, {task.state}{took}{blocked}{waited}"


def task_words(task: Task) -> str:
    """Return what an unfinished task does."""
    if task.started_ns is not None:
        return f"{task.name} runs{_place(task.where)}"
    return f"{task.name} waits {'for a worker' if task.where == 'worker' else 'to start'}"


def _place(where: str | None) -> str:
    return _PLACES.get(where or "", "")


def _sorted(moments: list[Moment]) -> list[Moment]:
    return sorted(moments, key=lambda moment: float("inf") if moment.ms is None else moment.ms)


def _moments(events: Iterable[tuple[Event, float | None]], kinds: Mapping[str, str]) -> Iterator[Moment]:
    for event, ms in events:
        if text := _words(event):
            yield Moment(ms, event.source, text, kinds.get(event.name, ""))


def _writes(writes: Iterable[Write], of: RequestResult | RecordedRequest) -> Iterator[Moment]:
    for write in writes:
        what = f"was {write.change}" if write.change else f"got {write.text.strip()!r}"
        yield Moment(of.ms(write.t_ns) or 0.0, "file", f"{write.file.rpartition('/')[2]} {what}", "write")


def _events_of(request: RecordedRequest) -> Iterator[Event]:
    """Yield the events that a recorded request keeps."""
    server = request.server
    yield Event(request.received_ns, "server", "request_received")
    if server.sent is not None:
        yield Event(server.sent.left_ns, "server", "response_sent", None, {"status": server.status})
    for task in request.tasks:
        about = {key: getattr(task, key) for key in ("where", "error", "detail", "reason")} | {"task": task.name}
        if task.started_ns is not None:
            yield Event(task.started_ns, "server", "task_started", None, about)
        if task.ended_ns is not None:
            yield Event(task.ended_ns, "server", f"task_{task.state}", None, about)
        if task.dropped_ns is not None:
            yield Event(task.dropped_ns, "server", "task_dropped", None, about)


def _words(event: Event) -> str:
    """Return an event in words, empty for one that says nothing to people."""
    detail = event.detail
    name = detail.get("task", "?")
    match event.name:
        case "request_sent":
            return "the client sent the request"
        case "response_headers":
            return f"the client got the status {detail.get('status')}"
        case "response_complete":
            return "the client had the whole response"
        case "request_failed":
            return f"the client got no complete response: {detail.get('error')}"
        case "request_received":
            return "the app got the request"
        case "response_sent":
            return f"the response {detail.get('status')} was sent"
        case "response_held":
            return f"the server still held {detail.get('buffered')} bytes of the response"
        case "response_lost":
            return f"the response was not sent: {_why(detail) or 'the client had closed the connection'}"
        case "task_queued":
            return f"{name} was queued"
        case "task_started":
            return f"{name} started{_place(detail.get('where'))}"
        case "task_retried":
            return f"{name} failed, and was queued again: {detail.get('error')}"
        case "loop_blocked":
            who = detail.get("task", detail.get("place"))
            return f"{who} had blocked the event loop for {milliseconds(detail.get('ms'))} ms"
        case "task_finished":
            return f"{name} finished"
        case "task_failed":
            return f"{name} failed: {detail.get('error')}"
        case "task_dropped":
            return f"{name} was dropped: {_why(detail) or 'no reason recorded'}"
        case "request_finished":
            error = detail.get("error")
            return f"the app raised {error}" if error else "the call of the app ended"
        case "shutdown":
            return "the server shuts down"
    return ""


def _why(detail: Mapping[str, object]) -> str:
    return str(detail.get("detail") or detail.get("reason") or "")
