"""The result for people: time lines, what the files got, a table, one sentence, and where the evidence lies."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fastbg.errors import LAST_LINES
from fastbg.events import Verdict
from fastbg.report.timelines import glyphs_for, timelines
from fastbg.results import RequestResult, RunResult, percentile
from fastbg.text import safe

DEFAULT = "default"
MOST_UNMET = 10  # requests that were not as expected are shown one by one
MOST_REASONS = 20
LONG_WAIT_MS = 200.0
SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))

STYLES: dict[Verdict, str] = {
    "response-first": "green",
    "work-first": "magenta",
    "no-work": "dim",
    "failed": "bold red",
    "dropped": "bold red",
    "lost": "bold red",
    "unproven": "bold yellow",
}


def plain_console() -> Console:
    """A console that takes no text for markup."""
    return Console(highlight=False, markup=False, emoji=False)


def live(run: RunResult, *, encoding: str, now_ns: int) -> RenderableType:
    """The picture while the run goes on, at the monotonic time ``now_ns``."""
    bars = timelines(run.representatives, encoding=encoding, now_ns=now_ns)
    return Group(*heading(run), Text(), bars, Text(), written(run, last=8))


def final(run: RunResult, *, encoding: str, brief: bool = False) -> RenderableType:
    """The whole report of a run that has ended; ``brief``: one of several, without what can be looked up elsewhere."""
    table = distributions(run, encoding=encoding) if run.is_load else verdicts(run, encoding=encoding)
    bars = timelines(run.representatives, encoding=encoding)
    if brief:
        return Group(
            *heading(run), Text(), bars, *details(run, encoding=encoding), *explanation(run), Rule(style="dim")
        )
    return Group(
        *heading(run),
        Text(),
        bars,
        Text(),
        written(run, last=8 if run.is_load else None),
        Text(),
        table,
        *details(run, encoding=encoding),
        *explanation(run),
        Text(),
        conclusion(run),
        evidence(run),
    )


def scripts(titles: Mapping[str, Sequence[tuple[str, str]]]) -> RenderableType:
    """Names and titles of scripts, by their groups."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for number, (group, rows) in enumerate(titles.items()):
        if number:
            table.add_row()
        table.add_row(Text(safe(group), style="bold"))
        for name, title in rows:
            table.add_row(Text(f"  {safe(name)}", style="cyan"), Text(safe(title)))
    return table


def overview(runs: Sequence[RunResult], *, encoding: str) -> RenderableType:
    """One row for each of several runs."""
    met, missed = _checks(encoding)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("script", no_wrap=True)
    table.add_column("as expected")
    table.add_column("requests", justify="right")
    table.add_column("verdicts")
    for run in runs:
        verdicts = Text(", ").join(
            Text(f"{count} {verdict}", style=STYLES[verdict]) for verdict, count in run.counts.items() if count
        )
        unmet = run.stopped or f"{run.unmet} not"
        told = Text(met, style="green") if run.ok else Text(safe(f"{missed} {unmet}"), style="red")
        table.add_row(Text(safe(run.name)), told, str(run.total), verdicts)
    differing = [run.name for run in runs if not run.ok]
    versions = ", ".join(f"{name} {runs[0].versions[name]}" for name in ("fastapi", "starlette", "uvicorn"))
    all_met = f"All {len(runs)} scripts came out as expected with {versions}."
    some_not = f"{', '.join(differing)} did not come out as expected with {versions}."
    return Group(table, Text(), Text(safe(some_not if differing else all_met), style="bold"))


def heading(run: RunResult) -> Iterable[Text]:
    work = "" if run.work is None else f", {run.work:g} s of work in each task"
    command = "fastbg demo" if run.name == DEFAULT else f"fastbg demo {safe(run.name)}"
    yield Text.assemble((command, "bold"), "  ", safe(run.server + work))
    if run.title:
        yield Text(safe(run.title), style="bold")


def explanation(run: RunResult) -> Iterable[Text]:
    """Why, in the words of the script, and where to read on."""
    if run.about:
        yield Text()
        yield Text(safe(run.about))
    yield from (Text(safe(link), style="dim") for link in run.links)


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
    met, missed = _checks(encoding)
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


def distributions(run: RunResult, *, encoding: str) -> Table:
    """Three rows for each name: how long the response, the first write and the lead took, in milliseconds."""
    met, missed = _checks(encoding)
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
            Text(safe(group.name if not group.part else f"{group.part}: {group.name}")),
            Text("\n").join([verdict, told]),
            "\n".join(name for name, _ in cells),
            *("\n".join(milliseconds(percentile(times, share)) for _, times in cells) for _, share in SHARES),
        )
    return table


def details(run: RunResult, *, encoding: str) -> Iterable[RenderableType]:
    """Each expectation that was not met, and why a verdict is what it is, where that is not plain."""
    reasons: dict[str, list[str]] = {}
    explained: set[tuple[str, str, Verdict]] = set()  # of many requests alike, one is enough
    shown = 0
    for result in run.requests:
        reason = result.judgement.reason
        if result.unmet:
            shown += 1
            if shown <= MOST_UNMET:
                yield from _unmet(result, encoding=encoding)
        elif reason and result.judgement.verdict != "no-work":
            kind = result.part, result.trace.name, result.judgement.verdict
            if kind in explained:
                continue
            explained.add(kind)
            reasons.setdefault(reason, []).append(result.trace.name)
    more = [f"{run.unmet - MOST_UNMET} more were not as expected"] if run.unmet > MOST_UNMET else []
    lines = [(line, "red") for line in more]
    lines += [(f"{', '.join(dict.fromkeys(names))}: {reason}", "") for reason, names in reasons.items()][:MOST_REASONS]
    lines += [(line, "yellow") for line in _hold_ups(run)]
    lines += [(remark, "yellow") for remark in run.remarks]
    if run.stopped:
        lines += [(run.stopped, "bold red"), *((f"  | {line}", "") for line in run.stderr[-LAST_LINES:])]
    if lines:
        yield Text()
    yield from (Text(safe(line), style=style) for line, style in lines)


def _hold_ups(run: RunResult) -> Iterable[str]:
    """What the server told of a blocked event loop, and of tasks that had to wait for a thread."""
    blocked: dict[str, float] = {}
    waited: dict[str, float] = {}
    for result in run.requests:
        for task in result.trace.tasks:
            name = f"{result.trace.name}: {task.name}"
            blocked[name] = max(blocked.get(name, 0.0), task.blocked_ms)
            waited[name] = max(waited.get(name, 0.0), task.waited_ms or 0.0)
    yield from (f"{name} held up the event loop for {milliseconds(ms)} ms" for name, ms in blocked.items() if ms)
    yield from (
        f"{name} waited up to {milliseconds(ms)} ms for a thread" for name, ms in waited.items() if ms >= LONG_WAIT_MS
    )


def _unmet(result: RequestResult, *, encoding: str) -> Iterable[RenderableType]:
    """One request that was not as expected: key by key both values and the witness, and its time line."""
    trace = result.trace
    yield Text()
    yield Text(safe(f"{trace.name}: not as expected"), style="bold red")
    for unmet in result.unmet:
        place = unmet.place(trace)
        yield Text(safe(f"  {place}{': ' if place else ''}{unmet} ({unmet.witness})"), style="red")
    if result.judgement.reason:
        yield Text(safe(f"  {result.judgement.reason}"))
    yield timelines([result], encoding=encoding, explain=False)


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


def _checks(encoding: str) -> tuple[str, str]:
    return ("✓", "✗") if glyphs_for(encoding).response == "●" else ("ok", "NO")


def milliseconds(value: float | None) -> str:
    """Milliseconds with as many digits as they deserve, ``-`` for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
