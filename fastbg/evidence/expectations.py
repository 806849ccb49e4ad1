"""Compares a request with the expectations of its script. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastbg.events import ExpectedVerdict, Verdict
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import ExpectedWrite, SentRequest, Trace
from fastbg.evidence.verdict import Judgement
from fastbg.recorder.request_ids import without_uuids
from fastbg.scripting.faults import describe_value, key_text
from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of

_BROKEN: tuple[Verdict, ...] = ("failed", "dropped", "lost")  # never right where any verdict is accepted
MAX_BODY_CHARACTERS = 1000  # of an unexpected body in a message; the JSON report has more


@dataclass(frozen=True, slots=True)
class Unmet:
    """An unmet expectation: its key in the script, the expected and the actual value, and the witness of the actual."""

    key: KeyPath
    expected: str
    actual: str
    witness: str

    def __str__(self) -> str:
        name = key_text(self.key[1:] if self.key[0] == "expect" else self.key)
        return f"{name}: expected {self.expected}, {self.actual}"

    def place(self, request: SentRequest) -> str | None:
        """Return the ``FILE:LINE`` of the expectation, or of its request if it is a default; None without a file."""
        line = self.line(request)
        return None if line is None else f"{request.script}:{line}"

    def line(self, request: SentRequest) -> int | None:
        """Return the line of `place`."""
        if not request.script or not request.lines:
            return None
        is_written = self.key[:2] in request.lines  # otherwise `line_of` would find the line of another expectation
        return line_of(self.key if is_written else (), request.lines)


def unmet(trace: Trace, judgement: Judgement) -> list[Unmet]:
    return [
        *_response_unmet(trace),
        *_verdict_unmet(trace, judgement),
        *_tasks_unmet(trace),
        *_writes_unmet(trace, judgement),
    ]


def _response_unmet(trace: Trace) -> Iterator[Unmet]:
    expected, status = trace.expected, trace.status
    allowed = status in expected.statuses if expected.statuses else status is not None
    if not allowed and not (trace.request.hangs_up and status is None):
        wanted = " or ".join(map(str, expected.statuses)) or "any"
        yield Unmet(("expect", "status"), wanted, _describe_status(trace), "client")
    elif expected.body is not None and not contains(
        trace.body.text if isinstance(expected.body, str) else trace.body.json, expected.body
    ):
        yield Unmet(("expect", "body"), repr(expected.body), _describe_body(trace), "client")
    for name, source in trace.unsaved.items():
        sent = source.startswith("request.")
        yield Unmet(("save", name), source, f"was not in the {'request' if sent else 'response'}", "client")
    response_ms = trace.ms(trace.time("response_complete"))
    most_ms, least_ms = expected.response_within_ms, expected.response_at_least_ms
    if most_ms is not None and (response_ms is None or response_ms > most_ms):
        yield Unmet(("expect", "response_within"), f"at most {_seconds(most_ms)}", _was(response_ms), "client")
    if least_ms is not None and (response_ms is None or response_ms < least_ms):
        yield Unmet(("expect", "response_at_least"), f"at least {_seconds(least_ms)}", _was(response_ms), "client")


def _describe_status(trace: Trace) -> str:
    if trace.status is None:
        return "got no response"
    if trace.location:
        return f"was {trace.status}, a redirect to {describe_value(trace.location)} (redirects are not followed)"
    return f"was {trace.status}"


def _describe_body(trace: Trace) -> str:
    if trace.find("response_complete") is None:
        return "the body was incomplete"
    body = trace.body
    text = repr(body.text[:MAX_BODY_CHARACTERS]) + ("…" if len(body.text) > MAX_BODY_CHARACTERS else "")
    return f"was {text}" + (f" (received {body.length} bytes, kept only the first part)" if body.cut else "")


def _verdict_unmet(trace: Trace, judgement: Judgement) -> Iterator[Unmet]:
    expected = trace.expected
    if not _is_accepted(judgement.verdict, expected.verdict):
        witnesses = " and ".join(judgement.evidence) or "no witness"
        yield Unmet(("expect", "verdict"), expected.verdict, f"was {judgement.verdict}", witnesses)
    if expected.lead_at_least_ms is None:
        return
    response_ns = trace.time("response_complete")
    first_ns = trace.writes[0].t_ns if trace.writes else None
    lead_ms = None if response_ns is None or first_ns is None else (first_ns - response_ns) / 1e6
    if lead_ms is None or lead_ms < expected.lead_at_least_ms:
        least = f"at least {_seconds(expected.lead_at_least_ms)}"
        yield Unmet(("expect", "lead_at_least"), least, _was(lead_ms), "client and file")


def _is_accepted(verdict: Verdict, expected: ExpectedVerdict) -> bool:
    return verdict not in _BROKEN if expected == "any" else verdict == expected


def _tasks_unmet(trace: Trace) -> Iterator[Unmet]:
    expected = trace.expected.tasks
    if expected is None or not trace.witnesses.journal:
        return
    if trace.witnesses.gap:
        names = ", ".join(task.name for task in expected) or "none"
        yield Unmet(("expect", "tasks"), names, f"unknown: {trace.witnesses.gap}", "no witness")
        return
    tasks = sorted(trace.tasks, key=lambda task: (task.started_ns is None, task.started_ns or 0))
    if len(tasks) != len(expected) or not all(is_called(t.name, e.name) for t, e in zip(tasks, expected, strict=True)):
        names = ", ".join(task.name for task in expected) or "none"
        yield Unmet(("expect", "tasks"), names, f"were {', '.join(task.name for task in tasks) or 'none'}", "server")
        return
    for number, (task, wanted) in enumerate(zip(tasks, expected, strict=True)):
        path = ("expect", "tasks", number)
        if wanted.state not in (None, task.state):
            yield Unmet((*path, "state"), f"{wanted.name} {wanted.state}", f"was {_describe_state(task)}", "server")
        if wanted.where not in (None, task.where):
            yield Unmet((*path, "where"), f"{wanted.name} in {wanted.where}", _describe_place(task), "server")
        if wanted.within_ms is not None:
            ended_ms = trace.ms(task.ended_ns)
            if ended_ms is None or ended_ms > wanted.within_ms:
                yield Unmet((*path, "within"), f"at most {_seconds(wanted.within_ms)}", _was(ended_ms), "server")


def _describe_state(task: Task) -> str:
    why = task.error or task.reason
    return f"{task.state} ({why})" if why else task.state


def _describe_place(task: Task) -> str:
    return f"was in {task.where}" if task.where else "did not start"


def _writes_unmet(trace: Trace, judgement: Judgement) -> Iterator[Unmet]:
    verdict = judgement.verdict
    explained = verdict == "lost" or (verdict in ("failed", "dropped") and verdict != trace.expected.verdict)
    for number, expected in enumerate(trace.expected.writes):
        path, key = ("expect", "writes", number), expected.change or "count"
        found, disturbed = len(expected.writes), expected.file in trace.witnesses.disturbed
        is_missing = found < expected.count and not explained and not expected.overwritten
        is_unread = not expected.count and (disturbed or not expected.complete)
        if found > expected.count or (is_missing and not trace.doubt(expected)):
            actual = "did not happen" if expected.change else f"found {_times(found)}"
            yield Unmet((*path, key), _describe_count(expected), actual, "file")
        elif is_missing or is_unread:
            yield Unmet((*path, key), _describe_count(expected), "unknown", "no witness")
        if expected.within_ms is not None and expected.writes:
            last_ms = trace.ms(max(write.t_ns for write in expected.writes))
            if last_ms is None or last_ms > expected.within_ms:
                yield Unmet((*path, "within"), f"at most {_seconds(expected.within_ms)}", _was(last_ms), "file")


def _describe_count(expected: ExpectedWrite) -> str:
    if not expected.count:
        return f"no {expected.event}"
    return expected.event + (f" {expected.count} times" if expected.count > 1 else "")


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count} times"


def _seconds(ms: float) -> str:
    return f"{ms / 1000:g} s"


def _was(ms: float | None) -> str:
    return "did not happen" if ms is None else f"was {ms / 1000:.3f} s"


def contains(body: Any, part: Any) -> bool:
    """Return whether ``body`` contains ``part``: objects may have more keys, all other values must be equal.

    A request id in a text of ``body`` may be in the form of a UUID.
    """
    if isinstance(part, Mapping) and isinstance(body, Mapping):
        return all(key in body and contains(body[key], value) for key, value in part.items())
    return bool(body == part) or (isinstance(body, str) and without_uuids(body) == part)


def is_called(name: str, wanted: str) -> bool:
    """Return whether a task's ``name`` is ``wanted``, or ends with ``wanted`` after a dot."""
    return name == wanted or name.endswith("." + wanted)
