"""The tables of a run: writes, verdicts, distributions of times."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fastbg.evidence.results import RunResult, percentile
from fastbg.report.style import SHARES, STYLES, checks, milliseconds
from fastbg.text import escape_control


def written(run: RunResult, last: int | None = None) -> RenderableType:
    """Return the writes of a run in the order in which they were seen; only the ``last`` ones if set."""
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
    """Return a table with one row per request: status, times in milliseconds, verdict, evidence."""
    ok_mark, unmet_mark = checks(encoding)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("request", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("status", justify="right")
    table.add_column("response\nms", justify="right")
    table.add_column("write\nms", justify="right")
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
            Text(f"{unmet_mark if result.unmet else ok_mark} {judgement.verdict}", style=STYLES[judgement.verdict]),
            ", ".join(judgement.evidence) or "-",
        )
    return table


def distributions(run: RunResult, *, encoding: str) -> Table:
    """Return a table with three lines per name: response, first write and lead, in milliseconds."""
    ok_mark, unmet_mark = checks(encoding)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("request", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("verdicts")
    for name in ("ms", *(name for name, _ in SHARES)):
        table.add_column(name, justify="left" if name == "ms" else "right")
    for group in run.groups:
        verdict = Text("\n").join(
            Text(f"{count} {verdict}", style=STYLES[verdict]) for verdict, count in group.verdicts.items()
        )
        check = Text(f"{unmet_mark} {group.unmet} not as expected" if group.unmet else f"{ok_mark} as expected")
        rows = [("response", group.responses_ms), ("write", group.writes_ms), ("lead", group.leads_ms)]
        cells = [(name, sorted(times)) for name, times in rows if times]
        table.add_row(
            Text(escape_control(group.name if not group.part else f"{group.part}: {group.name}")),
            Text("\n").join([verdict, check]),
            "\n".join(name for name, _ in cells),
            *("\n".join(milliseconds(percentile(times, share)) for _, times in cells) for _, share in SHARES),
        )
    return table
