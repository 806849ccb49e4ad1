"""What a script concludes, with measured values."""

from fastbg.evidence.results import RequestResult, RunResult
from fastbg.report.numbers import milliseconds_range
from fastbg.scripting.measured import filled
from fastbg.text import escape_control


def moral(run: RunResult) -> str | None:
    """Return what the script concludes, with measured values; None if it says nothing, or the run was not as expected.

    None as well if a value is missing, because a part of the script did not run.
    """
    if not run.moral or not run.ok:
        return None
    text = filled(run.moral.strip(), lambda who, field: _measured(run, who, field))
    return None if text is None else escape_control(text.replace("\n", " "))


def _measured(run: RunResult, who: str, field: str) -> str | None:
    """Return a measured value or a range as text, None if nothing was measured. See `fastbg.scripting.measured`."""
    groups = [group for group in run.groups if who in (group.full_name, group.name, *group.verdicts)]
    if field == "count":
        by_verdict = [count for group in groups for verdict, count in group.verdicts.items() if verdict == who]
        return str(sum(by_verdict or [group.count for group in groups])) if groups else None
    values: list[float | None]
    if field in ("response", "write", "lead"):
        values = [ms for group in groups for ms in getattr(group, f"{field}s_ms")]
    else:
        keys = {(group.part, group.name) for group in groups}
        requests = [request for request in run.requests if (request.part, request.trace.name) in keys]
        values = [value for request in requests if (value := _of_tasks(request, field)) is not None]
    return f"{milliseconds_range(values)} ms" if values else None


def _of_tasks(request: RequestResult, field: str) -> float | None:
    """Return the longest duration, or the most time blocked or waited, of the tasks of ``request`` in ms."""
    if field == "done":
        return max((end for _, end in request.spans_ms if end is not None), default=None)
    if field == "blocked":
        return max((task.blocked_ms for task in request.trace.tasks), default=None)
    if field == "waited":
        return max((task.waited_ms for task in request.trace.tasks if task.waited_ms is not None), default=None)
    return max((end - start for start, end in request.spans_ms if end is not None), default=None)
