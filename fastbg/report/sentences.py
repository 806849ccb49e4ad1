"""The result of a run in sentences."""

from collections.abc import Iterator

from rich.text import Text

from fastbg.evidence.results import RequestResult, RunResult
from fastbg.report.lines import LONG_WAIT_MS
from fastbg.report.numbers import milliseconds_range
from fastbg.report.style import typed_path
from fastbg.text import escape_control


def conclusion(run: RunResult) -> Text:
    if run.interrupted and not run.requests:
        return Text("Interrupted before the first request.")
    if run.interrupted:
        finished = sum(request.is_over for request in run.requests)
        sent = "1 request" if len(run.requests) == 1 else f"{len(run.requests)} requests"
        return Text(f"Interrupted after {run.seconds:.1f} s: {finished} of {sent} finished.")
    sentences = [f"{run.total} requests in {run.seconds:.1f} s."] if run.is_load else []
    if run.unmet:
        was = "was" if run.unmet == 1 else "were"
        sentences.append(f"{run.unmet} of {run.total} requests {was} not as expected.")
    sentences.append(", ".join(f"{count} {verdict}" for verdict, count in run.counts.items() if count) + ".")
    sentences += _waits(run)
    first = [group for group in run.groups if "response-first" in group.verdicts]
    if outside := [time for group in first for time in group.outside_ms]:
        sentences.append(f"The first expected write was seen {milliseconds_range(outside)} ms after the response.")
    if too_close := sum(group.too_close for group in first):
        sentences.append(f"For {too_close} of the response-first, only the server's events prove the order.")
    return Text(escape_control(" ".join(sentences)))


def _waits(run: RunResult) -> Iterator[str]:
    """Yield how long the clients waited, and which of them waited longest."""
    answered = [group for group in run.groups if group.responses_ms]
    times = [time for group in answered for time in group.responses_ms]
    if not times:
        return
    who = "The client" if run.total == 1 else "The clients"
    longest = max(answered, key=lambda group: max(group.responses_ms))
    most = f", the longest time in {longest.full_name}" if len(answered) > 1 else ""
    yield f"{who} waited {milliseconds_range(times)} ms for the response{most}."


def evidence(run: RunResult) -> Text:
    """Return the paths of the files, of the journal and of the server's output, and the versions."""
    paths = [path for path in (*run.files, run.journal, run.server_log) if path is not None]
    inside = [str(path.relative_to(run.directory)) for path in paths if path.is_relative_to(run.directory)]
    outside = [typed_path(path) for path in paths if not path.is_relative_to(run.directory)]
    parts = [f"{typed_path(run.directory)}: {', '.join(inside)}"] if inside else []
    sentence = escape_control(f"Evidence in {'; '.join([*parts, *outside]) or 'no file'}")
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
    yield from (write.event for write in trace.missing)
    if trace.witnesses.journal and not trace.find("request_finished"):
        yield "the end"
