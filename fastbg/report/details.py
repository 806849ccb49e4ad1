"""The unmet expectations of a run, and the reasons of its verdicts."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from fastbg.errors import LAST_LINES
from fastbg.events import Verdict
from fastbg.evidence.results import RequestResult, RunResult, full_name
from fastbg.evidence.verdict import NOTHING_QUEUED
from fastbg.report.delays import Told, blocked_places, delays, notes
from fastbg.report.reasons import reasons_of
from fastbg.report.timelines import timelines
from fastbg.text import escape_control

MAX_UNMET = 10  # requests that are shown one by one
MAX_REASONS = 20


def details(run: RunResult, *, encoding: str) -> Iterable[RenderableType]:
    """Yield the unmet expectations, and the `remarks`."""
    for result in [result for result in run.requests if result.unmet][:MAX_UNMET]:
        yield from _unmet(result, encoding=encoding)
    if lines := list(remarks(run)):
        yield Text()
    yield from (Text(escape_control(line), style=style) for line, style in lines)


def remarks(run: RunResult) -> Iterator[tuple[str, str]]:
    """Yield lines and their styles: the reasons of verdicts that need one, delays, remarks, and a stopped server."""
    if run.unmet > MAX_UNMET:
        yield f"{run.unmet - MAX_UNMET} more requests were not as expected", "red"
    yield from ((f"{_listed(names)}: {reason}", "") for reason, names in islice(_reasons(run).items(), MAX_REASONS))
    told = [
        Told(
            _listed([full_name(each.part, each.trace.name)]), each.trace.tasks, each.judgement.reason, each.trace.error
        )
        for each in run.requests
    ]
    yield from ((line, "yellow") for line in (*delays(told), *blocked_places(run.blocked), *notes(told)))
    yield from ((remark, "yellow") for remark in run.remarks if remark != run.warning)
    if run.stopped:
        yield run.stopped, "bold red"
        yield from ((f"  | {line}", "") for line in run.stderr[-LAST_LINES:])


def _reasons(run: RunResult) -> dict[str, list[str]]:
    """Return the reasons of verdicts that are as expected and need one, and the names of their requests."""
    reasons: dict[str, list[str]] = {}
    explained: set[tuple[str, str, Verdict]] = set()  # one reason is enough for requests that are alike
    for result in run.requests:
        reason, kind = result.judgement.reason, (result.part, result.trace.name, result.judgement.verdict)
        if not result.unmet and reason and reason != NOTHING_QUEUED and kind not in explained:
            explained.add(kind)
            reasons.setdefault(reason, []).append(full_name(result.part, result.trace.name))
    return reasons


def _listed(names: Iterable[str]) -> str:
    """Join names; those with a comma or a colon in quotes."""
    return ", ".join(f'"{name}"' if re.search("[,:]", name) else name for name in dict.fromkeys(names))


def _unmet(result: RequestResult, *, encoding: str) -> Iterable[RenderableType]:
    """Yield each unmet expectation of a request with both values and the witness, and its timeline."""
    trace = result.trace
    yield Text()
    yield Text(escape_control(f"{result.full_name}: not as expected"), style="bold red")
    for number, unmet in enumerate(result.unmet):
        place = unmet.place(trace.request)
        yield Text(escape_control(f"  {f'{place}: ' if place else ''}{unmet} ({unmet.witness})"), style="red")
        yield from map(_indented, reasons_of(result) if number == 0 else ())
    if result.judgement.reason:
        yield Text(escape_control(f"  {result.judgement.reason}"))
    yield timelines([result], encoding=encoding, explain=False)


def _indented(line: str) -> Padding:
    """Return a line below an expectation. If it is wrapped, its parts have the same indent."""
    text = line.lstrip()
    return Padding(Text(text), (0, 0, 0, 4 + len(line) - len(text)), expand=False)
