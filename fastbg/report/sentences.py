"""The result of a run in sentences: the numbers, and where the evidence lies."""

from collections.abc import Iterable

from rich.text import Text

from fastbg.evidence.results import RunResult
from fastbg.report.style import milliseconds, typed_path
from fastbg.text import escape_control


def conclusion(run: RunResult) -> Text:
    """One sentence with the numbers."""
    counts = run.counts
    working = run.total - sum(
        group.count for group in run.groups if "no-work" in (*group.verdicts, group.first.trace.expected.verdict)
    )
    first = [group for group in run.groups if "response-first" in group.verdicts]
    waited = [group for group in run.groups if "work-first" in group.verdicts]
    sentence = f"{run.total} requests in {run.seconds:.1f} s. " if run.is_load else ""
    before = counts["response-first"]
    sentence += f"{before} of {working} requests with work had their response before the work was done"
    if first:
        sentence += f": the client waited {_range(time for group in first for time in group.responses_ms)} ms"
        outside = [time for group in first for time in group.outside_ms]
        if outside:
            sentence += f", the first write was seen {_range(outside)} ms after the response"
        if too_close := sum(group.too_close for group in first):
            sentence += f" ({too_close} too close to call from outside)"
    if waited:
        names = ", ".join(group.name for group in waited)
        sentence += (
            f"; {names} made it wait {_range(t for group in waited for t in group.responses_ms)} ms for the work"
        )
    return Text(escape_control(sentence + "."), style="bold")


def evidence(run: RunResult) -> Text:
    """Where the files and the journal lie."""
    names = [run.name_of(str(path)) for path in (*run.files, *([run.journal] if run.journal else []))]
    told = escape_control(f"Evidence in {typed_path(run.directory)}: {', '.join(names)}")
    if run.journal is None:
        told += "; the server keeps no journal"
    if run.work is not None:
        told += "\n" + ", ".join(f"{name} {run.versions[name]}" for name in ("fastapi", "starlette", "uvicorn"))
    return Text(told, style="dim")


def _range(values: Iterable[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    low, high = milliseconds(known[0]), milliseconds(known[-1])
    return low if low == high else f"{low} to {high}"
