"""The result for people: time lines, what the files got, a table, one sentence, and where the evidence lies."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbg.events import Verdict
from fastbg.report.timelines import glyphs_for, timelines
from fastbg.results import RunResult
from fastbg.text import safe

LAST_LINES = 20  # of what a server wrote before it died

STYLES: dict[Verdict, str] = {
    "response-first": "green",
    "work-first": "magenta",
    "no-work": "dim",
    "failed": "bold red",
    "dropped": "bold red",
    "lost": "bold red",
    "unproven": "bold yellow",
}


def live(run: RunResult, *, encoding: str, now_ns: int) -> RenderableType:
    """The picture while the run goes on, at the monotonic time ``now_ns``."""
    return Group(
        heading(run), Text(), timelines(run.requests, encoding=encoding, now_ns=now_ns), Text(), written(run, last=8)
    )


def final(run: RunResult, *, encoding: str) -> RenderableType:
    """The whole report of a run that has ended."""
    return Group(
        heading(run),
        Text(),
        timelines(run.requests, encoding=encoding),
        Text(),
        written(run),
        Text(),
        verdicts(run, encoding=encoding),
        *details(run),
        Text(),
        conclusion(run),
        evidence(run),
    )


def heading(run: RunResult) -> Text:
    work = "" if run.work is None else f", {run.work:g} s of work in each task"
    return Text.assemble(("fastbg demo", "bold"), "  ", safe(run.server + work))


def written(run: RunResult, last: int | None = None) -> RenderableType:
    """What the followed files got from this run, in the order in which it was seen; the ``last`` few of it."""
    rows = [(write, result) for result in run.requests for write in result.trace.writes]
    rows.sort(key=lambda row: row[0].t_ns)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for write, result in rows if last is None else rows[-last:]:
        table.add_row(
            Text(f"{milliseconds(result.ms(write.t_ns))} ms", style="dim"),
            Text(safe(result.trace.name)),
            Text(safe(run.name_of(write.file)), style="cyan"),
            Text(safe(write.text.strip("\r\n"))),
        )
    return table if rows else Text("no write was seen", style="dim")


def verdicts(run: RunResult, *, encoding: str) -> Table:
    """One row a request: status, times in milliseconds, verdict, witnesses."""
    met, missed = ("✓", "✗") if glyphs_for(encoding).response == "●" else ("ok", "NO")
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("request", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("status", justify="right")
    table.add_column("response\nms after", justify="right")
    table.add_column("write\nms after", justify="right")
    table.add_column("lead\nms", justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("evidence")
    for result in run.requests:
        judgement = result.judgement
        table.add_row(
            Text(safe(result.trace.name)),
            "-" if result.trace.status is None else str(result.trace.status),
            milliseconds(result.response_ms),
            milliseconds(result.write_ms),
            milliseconds(result.lead_ms),
            Text(f"{missed if result.unmet else met} {judgement.verdict}", style=STYLES[judgement.verdict]),
            ", ".join(judgement.evidence) or "-",
        )
    return table


def details(run: RunResult) -> Iterable[Text]:
    """Why a verdict is what it is, where that is not plain, and each expectation that was not met."""
    lines: list[tuple[str, str]] = []
    reasons: dict[str, list[str]] = {}
    for result in run.requests:
        reason = result.judgement.reason
        if result.unmet:
            lines.append((f"{result.trace.name}: {'; '.join((*result.unmet, *([reason] if reason else [])))}", "red"))
        elif reason and result.judgement.verdict != "no-work":
            reasons.setdefault(reason, []).append(result.trace.name)
    lines += [(f"{', '.join(names)}: {reason}", "") for reason, names in reasons.items()]
    lines += [(remark, "yellow") for remark in run.remarks]
    if run.stopped:
        lines += [(run.stopped, "bold red"), *((f"  | {line}", "") for line in run.stderr[-LAST_LINES:])]
    if lines:
        yield Text()
    yield from (Text(safe(line), style=style) for line, style in lines)


def conclusion(run: RunResult) -> Text:
    """One sentence with the numbers."""
    first = [result for result in run.requests if result.judgement.verdict == "response-first"]
    waited = [result for result in run.requests if result.judgement.verdict == "work-first"]
    working = [
        result for result in run.requests if "no-work" not in (result.judgement.verdict, result.trace.expected.verdict)
    ]
    sentence = f"{len(first)} of {len(working)} requests with work had their response before the work was done"
    if first:
        sentence += f": the client waited {_range(result.response_ms for result in first)} ms"
        outside = [result.lead_ms for result in first if "client+file" in result.judgement.evidence]
        if outside:
            sentence += f", the first write was seen {_range(outside)} ms after the response"
        if len(outside) < len(first):
            sentence += f" ({len(first) - len(outside)} too close to call from outside)"
    if waited:
        names = ", ".join(result.trace.name for result in waited)
        sentence += f"; {names} made it wait {_range(result.response_ms for result in waited)} ms for the work"
    return Text(safe(sentence + "."), style="bold")


def evidence(run: RunResult) -> Text:
    """Where the files and the journal lie."""
    names = [run.name_of(str(path)) for path in (*run.files, *([run.journal] if run.journal else []))]
    told = safe(f"Evidence in {shown(run.directory)}: {', '.join(names)}")
    if run.journal is None:
        told += "; the server keeps no journal"
    if run.work is not None:
        told += "\n" + ", ".join(f"{name} {run.versions[name]}" for name in ("fastapi", "starlette", "uvicorn"))
    return Text(told, style="dim")


def shown(path: Path) -> str:
    """A path as people type it: relative where it lies below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _range(values: Iterable[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    low, high = milliseconds(known[0]), milliseconds(known[-1])
    return low if low == high else f"{low} to {high}"


def milliseconds(value: float | None) -> str:
    """Milliseconds with as many digits as they deserve, ``-`` for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
