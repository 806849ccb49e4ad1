"""The report of journals for people: timelines of the last requests, their tasks, and totals of all requests."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.distribution import Distribution
from fastbg.evidence.history import JournalSummary
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.verdict import NOTHING_QUEUED
from fastbg.report.delays import Told, blocked_places, delays, notes
from fastbg.report.journals import journals_table, under_headings
from fastbg.report.numbers import counted, milliseconds
from fastbg.report.processes import left_behind
from fastbg.report.style import STYLES
from fastbg.report.timelines import JOURNAL_LEGEND, timelines
from fastbg.text import escape_control

WITNESS = (
    "Evidence: the server only. A journal does not record clients or files. Times start when a request is received."
)
ORDER = "The order of the requests is approximate: it follows the wall clocks of the hosts. No verdict rests on it."


def journal_report(history: JournalSummary, *, encoding: str) -> RenderableType:
    """Return the whole report."""
    parts: list[RenderableType] = [heading(history)]
    if last := under_headings(history):
        parts += [
            Text(),
            timelines(last, encoding=encoding, legend=JOURNAL_LEGEND),
            Text(),
            requests(last),
            *_with_gap([*reasons(last), *remarks(last, history.blocked)]),
        ]
    if history.journals:
        parts += [Text(), journals_table(history.journals)]
    return Group(*parts, *_with_gap(summary(history)))


def heading(history: JournalSummary) -> Text:
    journal = f"{len(history.journals)} journals" if history.journals else history.journal
    return Text.assemble(("fastbg report", "bold"), "  ", escape_control(journal), "\n", counts_of(history))


def counts_of(history: JournalSummary) -> str:
    """Return how many events, requests and processes the journals have, and how many requests are shown."""
    counts = f"{counted(history.events, 'event')}, {counted(history.requests, 'request')}"
    counts += f", {counted(history.processes, 'server process', 'server processes')}"
    if len(history.last) < history.requests:
        counts += f"; the last {counted(len(history.last), 'request')}:" if history.last else ""
    return counts


def requests(recorded: Iterable[RecordedRequest]) -> Table:
    """Return a table with one row per request, and below it one row per task."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False, expand=True)
    table.add_column("request\n  task", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("status\nwhere", justify="right", no_wrap=True)
    table.add_column("sent\nstarted", justify="right", no_wrap=True)
    table.add_column("\nended", justify="right", no_wrap=True)
    table.add_column("verdict\nstate", no_wrap=True)
    part = ""
    for request in recorded:
        if request.part != part:
            part = request.part
            table.add_row(Text(part, style="bold"))
        verdict = request.judgement.verdict
        table.add_row(
            Text(escape_control(request.name)),
            "-" if request.server.status is None else str(request.server.status),
            milliseconds(request.response_ms),
            "",
            Text(verdict, style=STYLES[verdict]),
        )
        for task in request.tasks:
            table.add_row(
                Text("  " + escape_control(task.name)),
                Text(escape_control(task.where or "-")),
                milliseconds(request.ms(task.started_ns)),
                milliseconds(request.ms(task.ended_ns)),
                task.state,
                style="dim",
            )
        if request.more_tasks:
            table.add_row(f"  and {request.more_tasks:,} more tasks", style="dim")
    return table


def reasons(recorded: Iterable[RecordedRequest]) -> Iterable[Text]:
    """Yield the reasons of verdicts that need one; each reason once."""
    names: dict[str, dict[str, None]] = {}
    for request in recorded:
        reason = request.judgement.reason
        if reason and reason != NOTHING_QUEUED:
            names.setdefault(reason, {})[request.name] = None
    yield from (Text(escape_control(f"{', '.join(who)}: {reason}")) for reason, who in names.items())


def remarks(recorded: Sequence[RecordedRequest], blocked: Sequence[BlockedPlace]) -> Iterable[Text]:
    """Yield what tasks and other code did to the server, and what is unusual."""
    told = [Told(each.name, each.tasks, each.judgement.reason, each.server.error) for each in recorded]
    yield from (
        Text(escape_control(line), style="yellow") for line in (*delays(told), *blocked_places(blocked), *notes(told))
    )


def summary(history: JournalSummary) -> Iterable[Text]:
    """Yield totals, warnings, and the kind of evidence."""
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in history.counts.items() if count)
    sentence = counted(history.requests, "request") + (f": {counts}." if counts else ".")
    spreads = [("Response sent after", history.responses), ("Tasks took", history.works)]
    sentence += "".join(f" {what} {_spread(times)}." for what, times in spreads if times.count)
    yield Text(sentence, style="bold")
    yield from (Text(warning, style="yellow") for warning in _warnings(history))
    yield Text(WITNESS, style="dim")
    if history.journals and history.last:
        yield Text(ORDER, style="dim")


def _warnings(history: JournalSummary) -> Iterable[str]:
    yield from left_behind(history.left)
    journal = "journals" if history.journals else "journal"
    if history.shut_down:
        done = counted(history.shut_down, "request was", "requests were")
        yield f"{done} not finished when the server shut down."
    if unfinished := sum(process.requests - process.shut_down for process in history.left if process.state is None):
        done = counted(unfinished, "request was", "requests were")
        yield f"{done} not finished when the {journal} ended. If that server still runs, run the report again later."
    if history.skipped_parts:
        were = counted(history.skipped_parts, f"part of the {journal} was", f"parts of the {journal} were")
        yield f"{were} deleted by rotation and are not counted here."
    if history.lost:
        lost = counted(history.lost, "event was", "events were")
        yield f"{lost} lost: the server could not write its journal for a while. Some requests may be missing."
    if history.cut_processes:
        processes = counted(history.cut_processes, "process", "processes")
        yield f"{processes} could not write the last events, for example because the disk was full: some are missing."
    if history.foreign:
        lines = counted(history.foreign, "line is not an event", "lines are not events")
        yield f"{lines}: incomplete, or written by another program."
    if history.strays:
        belong = counted(history.strays, "event belongs", "events belong")
        yield f"{belong} to requests whose start is not in the {journal}."
    if len(history.boots) > 1:
        covers = "cover" if history.journals else "covers"
        yield f"The {journal} {covers} {len(history.boots)} boots; times of different boots are not compared."


def _spread(times: Distribution) -> str:
    low, median, high = (milliseconds(times.percentile_ms(share)) for share in (0, 0.5, 1))
    return f"{median} ms" if low == high else f"{low} to {high} ms, median {median} ms"


def _with_gap(lines: Iterable[Text]) -> Iterable[Text]:
    """Yield an empty line before ``lines`` unless there are none."""
    for number, line in enumerate(lines):
        if not number:
            yield Text()
        yield line
