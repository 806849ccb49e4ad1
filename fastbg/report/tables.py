"""The tables of a run: writes, verdicts, distributions of times."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fastbg.evidence.results import Group, RequestResult, RunResult, percentile
from fastbg.report.line_layout import tree_for
from fastbg.report.numbers import milliseconds
from fastbg.report.style import SHARES, STYLES, unmet_mark, verdict_text
from fastbg.text import escape_control

INDENT = "  "


class SeenWrite(NamedTuple):
    """A write in the list of writes. ``name``: of its request. ``expected``: whether a request should make it."""

    t_ns: int
    name: str
    file: str
    text: str
    expected: bool


def writes_of(run: RunResult) -> list[SeenWrite]:
    """Return all writes that were seen, in the order of time. One whose request is not known has ``?`` as name."""
    writes = [
        SeenWrite(write.t_ns, result.full_name, write.file, write.change or write.text, True)
        for result in run.requests
        for write in result.trace.writes
    ]
    writes += [
        SeenWrite(each.t_ns, each.writer.full_name if each.writer else "?", each.file, each.text, False)
        for each in run.others
    ]
    return sorted(writes, key=lambda write: write.t_ns)


def written(run: RunResult, last: int | None = None) -> RenderableType:
    """Return a list of all writes; only the ``last`` ones if set. A write that nothing expects is dim."""
    writes = writes_of(run)
    if not writes:
        why = "no write was seen" if run.files else "no file is followed: name the files that tasks write in `follow`"
        return Text(why, style="dim")
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for write in writes if last is None else writes[-last:]:
        table.add_row(
            Text(f"{milliseconds((write.t_ns - run.begin_ns) / 1e6)} ms", style="dim"),
            Text(escape_control(write.name)),
            Text(escape_control(run.name_of(write.file)), style="cyan"),
            Text(escape_control(write.text.strip("\r\n"))),
            style="" if write.expected else "dim",
        )
    return table


def _table(*headers: str) -> Table:
    """Return a table with a wide first column, columns of numbers, and a last column for the verdict."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False, expand=True)
    table.add_column(headers[0], no_wrap=True, overflow="ellipsis", ratio=1)
    for header in headers[1:-1]:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(headers[-1], no_wrap=True)
    return table


def verdicts(run: RunResult, *, encoding: str) -> Table:
    """Return a table with two lines per request: name, times and verdict; then request line, status and evidence."""
    table = _table("request\n  method and path", "response\nms", "write\nms", "lead\nms", "verdict\n  evidence")
    part = ""
    for result in run.requests:
        if result.part != part:
            part = result.part
            table.add_row(Text(escape_control(part), style="bold"))
        verdict = result.judgement.verdict
        name = verdict_text(verdict, as_expected=not result.unmet, encoding=encoding) if result.is_over else verdict
        table.add_row(
            Text(escape_control(result.trace.name)),
            milliseconds(result.response_ms),
            milliseconds(result.write_ms),
            milliseconds(result.lead_ms),
            Text(name, style=STYLES[verdict]),
        )
        table.add_row(
            RequestLine.of(result, encoding=encoding),
            "",
            "",
            "",
            INDENT + (", ".join(result.judgement.evidence) or "no evidence"),
            style="dim",
        )
    return table


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A line such as "POST /orders → 200". If there is no room for it, its path is cut."""

    method: str
    path: str
    end: str
    cut: str

    @classmethod
    def of(cls, result: RequestResult, *, encoding: str) -> "RequestLine":
        trace, tree = result.trace, tree_for(encoding)
        status = "no response" if trace.status is None else str(trace.status)
        method, path = escape_control(trace.request.method), escape_control(trace.request.path)
        return cls(f"{INDENT}{method} ", path, f" {tree.arrow} {status}", tree.cut)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(options.max_width - cell_len(self.method) - cell_len(self.end), 1)
        path = self.path if cell_len(self.path) <= room else set_cell_size(self.path, room - 1) + self.cut
        yield Text(self.method + path + self.end, no_wrap=True, overflow="ellipsis", style="dim")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


def distributions(run: RunResult, *, encoding: str) -> Table:
    """Return a table with the verdicts per name, and three lines below: response, first write and lead, in ms."""
    table = _table("request\n  ms", *(f"\n{name}" for name, _ in SHARES), "verdicts")
    part = ""
    for group in run.groups:
        if group.part != part:
            part = group.part
            table.add_row(Text(escape_control(part), style="bold"))
        times = [("response", group.responses_ms), ("write", group.writes_ms), ("lead", group.leads_ms)]
        known = [(INDENT + name, sorted(values)) for name, values in times if values]
        first = [escape_control(group.name if group.count == 1 else f"{group.name}, {group.count} times")]
        table.add_row(
            Text("\n").join(map(Text, [*first, *(name for name, _ in known)])),
            *("\n" + "\n".join(milliseconds(percentile(values, share)) for _, values in known) for _, share in SHARES),
            Text("\n").join(_verdicts_of(group, encoding=encoding)),
        )
    return table


def _verdicts_of(group: Group, *, encoding: str) -> Iterable[Text]:
    for verdict, count in group.verdicts.items():
        as_expected = not group.unmet or verdict == group.first.trace.expected.verdict
        text = verdict_text(verdict, as_expected=as_expected, encoding=encoding)
        yield Text(f"{count} {text}", style=STYLES[verdict])
    if group.unmet:
        yield Text(f"{unmet_mark(encoding)} {group.unmet} not as expected", style="bold red")
