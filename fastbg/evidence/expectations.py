"""Which expectations of a script a request does not meet, with both values and who saw the actual one. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import SentRequest, Trace
from fastbg.evidence.verdict import Judgement
from fastbg.scripting.faults import describe_value, key_text
from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of

MAX_TOLD = 1000  # characters of a body that is not as expected; the document has what is kept


@dataclass(frozen=True, slots=True)
class Unmet:
    """An expectation that was not met: the key of the script, both values, and who saw the actual one."""

    key: KeyPath
    expected: str
    actual: str
    witness: str

    def __str__(self) -> str:
        name = key_text(self.key[1:] if self.key[0] == "expect" else self.key)
        return f"{name}: expected {self.expected}, {self.actual}"

    def place(self, request: SentRequest) -> str | None:
        """``FILE:LINE`` where ``request`` is expected to be so, None without a script."""
        return f"{request.script}:{line_of(self.key, request.lines)}" if request.script else None


def unmet(trace: Trace, judgement: Judgement) -> list[Unmet]:
    """The expectations that ``trace`` does not meet."""
    return [
        *_response_unmet(trace),
        *_verdict_unmet(trace, judgement),
        *_tasks_unmet(trace),
        *_writes_unmet(trace, judgement),
    ]


def _response_unmet(trace: Trace) -> Iterator[Unmet]:
    expected, status = trace.expected, trace.status
    if status not in expected.statuses and not (trace.request.hangs_up and status is None):
        wanted = " or ".join(map(str, expected.statuses))
        yield Unmet(("expect", "status"), wanted, _told_status(trace), "client")
    elif expected.body is not None and not contains(
        trace.body.text if isinstance(expected.body, str) else trace.body.json, expected.body
    ):
        yield Unmet(("expect", "body"), repr(expected.body), _told_body(trace), "client")
    for name, what in trace.unsaved.items():
        yield Unmet(("save", name), what, "was not there", "client")
    response_ms = trace.ms(trace.time("response_complete"))
    most_ms, least_ms = expected.response_within_ms, expected.response_at_least_ms
    if most_ms is not None and (response_ms is None or response_ms > most_ms):
        yield Unmet(("expect", "response_within"), f"at most {_seconds(most_ms)}", _was(response_ms), "client")
    if least_ms is not None and (response_ms is None or response_ms < least_ms):
        yield Unmet(("expect", "response_at_least"), f"at least {_seconds(least_ms)}", _was(response_ms), "client")


def _told_status(trace: Trace) -> str:
    if trace.status is None:
        return "none came"
    redirect = f", a redirect to {describe_value(trace.location)} (none is followed)" if trace.location else ""
    return f"was {trace.status}{redirect}"


def _told_body(trace: Trace) -> str:
    if trace.find("response_complete") is None:
        return "did not come as a whole"
    body = trace.body
    text = repr(body.text[:MAX_TOLD]) + ("…" if len(body.text) > MAX_TOLD else "")
    return f"was {text}" + (f" ({body.length} bytes came, too many to be kept)" if body.cut else "")


def _verdict_unmet(trace: Trace, judgement: Judgement) -> Iterator[Unmet]:
    expected = trace.expected
    if judgement.verdict != expected.verdict:
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


def _tasks_unmet(trace: Trace) -> Iterator[Unmet]:
    expected = trace.expected.tasks
    if expected is None or not trace.witnesses.journal:
        return
    if trace.witnesses.gap:
        names = ", ".join(task.name for task in expected) or "none"
        yield Unmet(("expect", "tasks"), names, f"nobody can tell: {trace.witnesses.gap}", "no witness")
        return
    tasks = sorted(trace.tasks, key=lambda task: (task.started_ns is None, task.started_ns or 0))
    if len(tasks) != len(expected) or not all(is_called(t.name, e.name) for t, e in zip(tasks, expected, strict=True)):
        names = ", ".join(task.name for task in expected) or "none"
        yield Unmet(("expect", "tasks"), names, f"were {', '.join(task.name for task in tasks) or 'none'}", "server")
        return
    for number, (task, wanted) in enumerate(zip(tasks, expected, strict=True)):
        path = ("expect", "tasks", number)
        if wanted.state not in (None, task.state):
            yield Unmet((*path, "state"), f"{wanted.name} {wanted.state}", f"was {_told_state(task)}", "server")
        if wanted.where not in (None, task.where):
            yield Unmet((*path, "where"), f"{wanted.name} in {wanted.where}", f"was in {task.where}", "server")
        if wanted.within_ms is not None:
            ended_ms = trace.ms(task.ended_ns)
            if ended_ms is None or ended_ms > wanted.within_ms:
                yield Unmet((*path, "within"), f"at most {_seconds(wanted.within_ms)}", _was(ended_ms), "server")


def _told_state(task: Task) -> str:
    why = task.error or task.reason
    return f"{task.state} ({why})" if why else task.state


def _writes_unmet(trace: Trace, judgement: Judgement) -> Iterator[Unmet]:
    verdict = judgement.verdict
    explained = verdict == "lost" or (verdict in ("failed", "dropped") and verdict != trace.expected.verdict)
    for number, expected in enumerate(trace.expected.writes):
        path = ("expect", "writes", number)
        found, file = len(expected.writes), PurePath(expected.file).name
        if found > expected.count or (found < expected.count and not explained):
            wanted = expected.told if expected.count == 1 else f"{expected.count} times {expected.told}"
            yield Unmet((*path, "count"), f"{wanted} in {file}", f"came {found} times", "file")
        elif not expected.count and not expected.complete:
            yield Unmet((*path, "count"), f"no {expected.told} in {file}", "nobody can tell", "no witness")
        if expected.within_ms is not None and expected.writes:
            last_ms = trace.ms(max(write.t_ns for write in expected.writes))
            if last_ms is None or last_ms > expected.within_ms:
                yield Unmet((*path, "within"), f"at most {_seconds(expected.within_ms)}", _was(last_ms), "file")


def _seconds(ms: float) -> str:
    return f"{ms / 1000:g} s"


def _was(ms: float | None) -> str:
    return "never came" if ms is None else f"was {ms / 1000:.3f} s"


def contains(body: Any, part: Any) -> bool:
    """Whether ``part`` is in ``body``: objects may have more keys, everything else is equal."""
    if isinstance(part, Mapping) and isinstance(body, Mapping):
        return all(key in body and contains(body[key], value) for key, value in part.items())
    return bool(body == part)


def is_called(name: str, wanted: str) -> bool:
    """Whether a task's ``name``, or its end behind a dot, is the ``wanted`` one."""
    return name == wanted or name.endswith("." + wanted)
