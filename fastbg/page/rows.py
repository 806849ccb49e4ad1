"""The rows of a page: one per request, with all that its script draws. Terminal, SVG and page have the same times.

`fastbg.report.timelines` says which marks a bar has and when. A row adds to each mark its witness and its event in
words.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastbg.events import Verdict, boot_id
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.results import RequestResult
from fastbg.evidence.tasks import Task
from fastbg.page.words import Moment, moments_of_record, moments_of_result, span_words, task_words
from fastbg.report.moments import t_ns_of
from fastbg.report.timelines import CLIENT_LEGEND, JOURNAL_LEGEND, Legend, Timed, marks_of
from fastbg.text import escape_control

RUNNING = "running"  # the state of a request that is not over
ELSEWHERE = "another boot or machine: whether it still runs is unknown"


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which a task ran, in milliseconds from the start of its request; ``end``: None for an open end."""

    start: float
    end: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Doing:
    """What a request does that is not over. ``since``: in milliseconds from its start.

    ``began``: its start in milliseconds of this boot's monotonic clock. ``waits``: whether its response may still be
    sent.
    """

    text: str
    since: float
    began: float
    waits: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One request on a page. Times are milliseconds from its start.

    ``state``: its verdict, or `RUNNING`. ``as_expected``: False if an expectation is not met. ``at``: its start in
    milliseconds since 1970, None if only durations matter. ``notes``: its reason, and its unmet expectations.
    ``moments``: all events, for the fold. ``doing``: None if it is over.
    """

    key: str
    name: str
    part: str
    path: str
    state: Verdict | str
    as_expected: bool
    status: int | None
    waited: float | None
    at: float | None
    notes: tuple[str, ...]
    spans: tuple[Span, ...]
    marks: tuple[Moment, ...]
    moments: tuple[Moment, ...]
    doing: Doing | None = None


def row_of_result(result: RequestResult, key: str) -> Row:
    """Return the row of a request that fastbg sent."""
    trace, moments = result.trace, moments_of_result(result)
    reason = [result.judgement.reason] if result.judgement.reason else []
    return Row(
        key=key,
        name=result.name,
        part=result.part,
        path=f"{trace.request.method} {trace.request.path}",
        state=result.judgement.verdict,
        as_expected=not result.unmet,
        status=trace.status,
        waited=result.waited_ms,
        at=None,
        notes=tuple([f"{unmet} ({unmet.witness})" for unmet in result.unmet] + reason),
        spans=_spans(result, trace.tasks),
        marks=_marks(result, moments, trace.tasks, CLIENT_LEGEND),
        moments=tuple(moments),
    )


def row_of_record(request: RecordedRequest, key: str) -> Row:
    """Return the row of a request in a journal. One that is not over has the events up to now."""
    server, moments = request.server, moments_of_record(request)
    reason = request.judgement.reason if request.is_over else None
    causes = [text for text in (server.not_sent, server.error) if text and text not in (reason or "")]
    more = f"and {request.more_tasks:,} more tasks" if request.more_tasks else ""
    return Row(
        key=key,
        name=request.name,
        part=request.part,
        path=request.name,
        state=request.judgement.verdict if request.is_over else RUNNING,
        as_expected=True,
        status=server.status,
        waited=request.waited_ms,
        at=request.wall_ns / 1e6,
        notes=tuple(filter(None, [reason, *causes, more])),
        spans=_spans(request, request.tasks),
        marks=_marks(request, moments, request.tasks, JOURNAL_LEGEND),
        moments=tuple(moments),
        doing=None if request.is_over else _doing(request),
    )


def _spans(timed: Timed, tasks: Sequence[Task]) -> tuple[Span, ...]:
    started = [task for task in tasks if timed.ms(task.started_ns) is not None]
    return tuple(
        Span(start, end, span_words(task, None if end is None else end - start))
        for task, (start, end) in zip(started, timed.spans_ms, strict=True)
    )


def _marks(timed: Timed, moments: Sequence[Moment], tasks: Sequence[Task], legend: Legend) -> tuple[Moment, ...]:
    """Return each mark with the event that it stands for; an open end has none, but names the tasks without an end."""
    events: dict[tuple[str, float | None], list[Moment]] = {}
    for moment in moments:
        events.setdefault((moment.kind, moment.ms), []).append(moment)
    texts, without_end = dict(legend.marks), ", ".join(task.name for task in tasks if task.is_open)

    def event(ms: float | None, kind: str) -> Moment:
        if found := events.get((kind, ms)):
            return found.pop(0)
        return Moment(ms, "", ": ".join(filter(None, [without_end, texts[kind]])), kind)

    return tuple(event(ms, kind) for ms, kind in marks_of(timed) if timed.is_over or ms is not None)


def _doing(request: RecordedRequest) -> Doing:
    waits = request.response_ms is None and request.server.not_sent is None
    running = [task for task in request.tasks if task.is_open]
    running.sort(key=lambda task: task.started_ns is None)
    if waits and not any(task.started_ns for task in running):
        text, since = "no response yet", 0.0
    elif running:
        text, since = task_words(running[0]), request.ms(running[0].started_ns) or request.response_ms or 0.0
    else:
        text, since = "the app's call has not ended", request.response_ms or 0.0
    if request.boot == boot_id():
        return Doing(text, since, request.received_ns / 1e6, waits)
    # Only here the start depends on the wall clock, which may be set.
    return Doing(f"{text} ({ELSEWHERE})", since, t_ns_of(request.wall_ns) / 1e6, waits)


class _Texts:
    """The different texts of some rows, each once: rows name them by their numbers."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return [escape_control(text) for text in self._numbers]


def encoded(rows: Iterable[Row]) -> dict[str, object]:
    """Return ``rows`` as the object that `page.js` reads: ``{"texts": […], "rows": [[…], …]}``."""
    texts = _Texts()
    lists = [_encoded(row, texts.number) for row in rows]
    return {"texts": texts.all(), "rows": lists}


def _encoded(row: Row, number: Callable[[str], int]) -> list[object]:
    return [
        row.key,
        number(row.name),
        number(row.part),
        number(row.path),
        number(row.state),
        int(row.as_expected),
        row.status,
        _short(row.waited),
        None if row.at is None else int(row.at),
        [number(note) for note in row.notes],
        [value for span in row.spans for value in (_short(span.start), _short(span.end), number(span.text))],
        _encoded_moments(row.marks, number, with_kind=True),
        _encoded_moments(row.moments, number, with_kind=False),
        None if row.doing is None else _encoded_doing(row.doing, number),
    ]


def _encoded_doing(doing: Doing, number: Callable[[str], int]) -> list[object]:
    return [number(doing.text), _short(doing.since), _short(doing.began), int(doing.waits)]


def _encoded_moments(moments: Sequence[Moment], number: Callable[[str], int], *, with_kind: bool) -> list[object]:
    values: list[object] = []
    for moment in moments:
        values += [_short(moment.ms), number(moment.witness), number(moment.text)]
        values += [number(moment.kind)] if with_kind else []
    return values


def _short(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
