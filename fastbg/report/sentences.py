"""The result of a run in sentences."""

from collections.abc import Iterator
from pathlib import PurePath

from rich.text import Text

from fastbg.evidence.results import RequestResult, RunResult
from fastbg.report.lines import LONG_WAIT_MS
from fastbg.report.numbers import milliseconds_range
from fastbg.report.style import typed_path
from fastbg.text import escape_control


def conclusion(run: RunResult) -> Text:
    if run.interrupted:
        finished = sum(request.is_over for request in run.requests)
        sent = "1 request" if len(run.requests) == 1 else f"{len(run.requests)} requests"
        return Text(f"Interrupted after {run.seconds:.1f} s: {finished} of {sent} finished.")
    counts = run.counts
    working = run.total - sum(
        group.count for group in run.groups if "no-work" in (*group.verdicts, group.first.trace.expected.verdict)
    )
    first = [group for group in run.groups if "response-first" in group.verdicts]
    waited = [group for group in run.groups if "work-first" in group.verdicts]
    before = counts["response-first"]
    sentences = [f"{run.total} requests in {run.seconds:.1f} s."] if run.is_load else []
    if run.unmet:
        were = "request was" if run.unmet == 1 else "requests were"
        sentences.append(f"{run.unmet} of {run.total} {were} not as expected.")
    sentences.append(_answered_before(before, working))
    if first:
        sentences.append(
            f"The client waited {milliseconds_range(time for group in first for time in group.responses_ms)} ms."
        )
        outside = [time for group in first for time in group.outside_ms]
        if outside:
            sentences.append(f"The first expected write was seen {milliseconds_range(outside)} ms after the response.")
        if too_close := sum(group.too_close for group in first):
            sentences.append(f"For {too_close} of them, only the server's events prove the order.")
    if waited:
        names = ", ".join(group.full_name for group in waited)
        times = milliseconds_range(time for group in waited for time in group.responses_ms)
        sentences.append(f"In {names}, the client waited {times} ms for the work.")
    return Text(escape_control(" ".join(sentences)))


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


def waiting(run: RunResult, *, now_ns: int) -> Text:
    """Return what the run waits for, and since when; empty if that is less than `LONG_WAIT_MS`."""
    for request in run.requests:
        waited_ms = request.ms(now_ns)
        if request.is_over or waited_ms is None or waited_ms < LONG_WAIT_MS:
            continue
        what = next(iter(_open_ends(request)), None)
        if what is not None:
            text = f"waiting for {what} of {request.full_name} ({waited_ms / 1000:.1f} s since it was sent)"
            return Text(escape_control(text), style="dim")
    return Text()


def _open_ends(request: RequestResult) -> Iterator[str]:
    trace = request.trace
    if request.response_ms is None:
        yield "the response"
    yield from (f"the task {task.name}" for task in trace.tasks if task.is_open)
    yield from (f"{write.description} in {PurePath(write.file).name}" for write in trace.missing)
    if trace.witnesses.journal and not trace.find("request_finished"):
        yield "the end"
