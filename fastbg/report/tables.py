"""The tables of a run: what the files got, verdicts, distributions of times."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fastbg.evidence.results import RunResult, percentile
from fastbg.report.style import SHARES, STYLES, checks, milliseconds
from fastbg.text import escape_control


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
            Text(escape_control(result.trace.name)),
            Text(escape_control(run.name_of(write.file)), style="cyan"),
            Text(escape_control(write.text.strip("\r\n"))),
        )
    return table if rows else Text("no write was seen", style="dim")


def verdicts(run: RunResult, *, encoding: str) -> Table:
    """One row a request: status, times in milliseconds, verdict, witnesses."""
    met, missed = checks(encoding)
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
            Text(escape_control(result.trace.name)),
            "-" if result.trace.status is None else str(result.trace.status),
            milliseconds(result.response_ms),
            milliseconds(result.write_ms),
            milliseconds(result.lead_ms),
            Text(f"{missed if result.unmet else met} {judgement.verdict}", style=STYLES[judgement.verdict]),
            ", ".join(judgement.evidence) or "-",
        )
    return table


def distributions(run: RunResult, *, encoding: str) -> Table:
    """Three rows for each name: how long the response, the first write and the lead took, in milliseconds."""
    met, missed = checks(encoding)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("request", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("verdicts")
    for name in ("ms", *(name for name, _ in SHARES)):
        table.add_column(name, justify="left" if name == "ms" else "right")
    for group in run.groups:
        verdict = Text("\n").join(
            Text(f"{count} {verdict}", style=STYLES[verdict]) for verdict, count in group.verdicts.items()
        )
        told = Text(f"{missed} {group.unmet} not as expected" if group.unmet else f"{met} as expected")
        rows = [("response", group.responses_ms), ("write", group.writes_ms), ("lead", group.leads_ms)]
        cells = [(name, sorted(times)) for name, times in rows if times]
        table.add_row(
            Text(escape_control(group.name if not group.part else f"{group.part}: {group.name}")),
            Text("\n").join([verdict, told]),
            "\n".join(name for name, _ in cells),
            *("\n".join(milliseconds(percentile(times, share)) for _, times in cells) for _, share in SHARES),
        )
    return table
