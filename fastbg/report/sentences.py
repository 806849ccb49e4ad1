"""The result of a run in sentences."""

from collections.abc import Iterable

from rich.text import Text

from fastbg.evidence.results import RunResult
from fastbg.report.style import milliseconds, typed_path
from fastbg.text import escape_control


def conclusion(run: RunResult) -> Text:
    counts = run.counts
    working = run.total - sum(
        group.count for group in run.groups if "no-work" in (*group.verdicts, group.first.trace.expected.verdict)
    )
    first = [group for group in run.groups if "response-first" in group.verdicts]
    waited = [group for group in run.groups if "work-first" in group.verdicts]
    before = counts["response-first"]
    sentences = [f"{run.total} requests in {run.seconds:.1f} s."] if run.is_load else []
    sentences.append(_answered_before(before, working))
    if first:
        sentences.append(f"The client waited {_range(time for group in first for time in group.responses_ms)} ms.")
        outside = [time for group in first for time in group.outside_ms]
        if outside:
            sentences.append(f"The first write was seen {_range(outside)} ms after the response.")
        if too_close := sum(group.too_close for group in first):
            sentences.append(f"For {too_close} of them, only the server's events prove the order.")
    if waited:
        names = ", ".join(group.name for group in waited)
        times = _range(time for group in waited for time in group.responses_ms)
        sentences.append(f"In {names}, the client waited {times} ms for the work.")
    return Text(escape_control(" ".join(sentences)), style="bold")


def _answered_before(before: int, working: int) -> str:
    if not working:
        return "No request had work."
    if working == 1:
        return f"The request with work was {'' if before else 'not '}answered before it was done."
    were = "was" if before == 1 else "were"
    return f"{before} of the {working} requests with work {were} answered before it was done."


def evidence(run: RunResult) -> Text:
    """Return the paths of the files, of the journal and of the server's output, and the versions."""
    paths = (*run.files, run.journal, run.server_log)
    names = [run.name_of(str(path)) for path in paths if path is not None]
    sentence = escape_control(f"Evidence in {typed_path(run.directory)}: {', '.join(names)}")
    if run.journal is None:
        sentence += "; no journal of this server"
    if run.work is not None:
        sentence += "\n" + ", ".join(f"{name} {run.versions[name]}" for name in ("fastapi", "starlette", "uvicorn"))
    return Text(sentence, style="dim")


def _range(values: Iterable[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    low, high = milliseconds(known[0]), milliseconds(known[-1])
    return low if low == high else f"{low} to {high}"
