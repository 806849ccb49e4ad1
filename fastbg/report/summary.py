"""The result in brief: one line, and a summary in Markdown as GitHub shows it beside a job."""

import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from fastbg.report.console import conclusion, milliseconds
from fastbg.report.files import write
from fastbg.report.timelines import timelines
from fastbg.results import RequestResult, RunResult
from fastbg.text import safe

# GitHub takes 1 MiB of summary from a step: with these limits a run of any length stays below that.
MOST_ROWS = 200
MOST_LINES = 40  # time lines
CELL_LIMIT = 120  # characters, of which markup takes up to 6 bytes each
LINE_LIMIT = 300
WIDTH = 100  # columns of the time lines

# What is markup somewhere in GitHub's Markdown, bare links included. As numeric references none of it is.
_MARKUP = re.compile(r"[&<>|`*_\[\]\\~#@!${}]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def append_summary(run: RunResult, path: Path) -> None:
    """Put `markdown` at the end of ``path``, where other steps may have left theirs. Raises `FastbgError`."""
    write(path, "\n" + markdown(run), "the summary for GitHub", append=True)


def one_line(run: RunResult) -> str:
    """Whether all was as expected, and how many requests got which verdict."""
    counts = [f"{count} {verdict}" for verdict, count in run.counts.items() if count]
    unmet = sum(bool(request.unmet) for request in run.requests)
    parts = [f"{len(run.requests)} requests" if len(run.requests) != 1 else "1 request", *counts]
    if unmet:
        parts.append(f"{unmet} not as expected")
    if run.stopped:
        parts.append(run.stopped)
    return safe(f"{'ok' if run.ok else 'not ok'}: {', '.join(parts)}")


def markdown(run: RunResult) -> str:
    """A heading, a table with the verdicts, what was not as expected, and the time lines."""
    shown = run.requests
    if len(shown) > MOST_ROWS:
        shown = tuple(sorted(shown, key=lambda request: not request.unmet)[:MOST_ROWS])  # stable: in their order
    heading = f"### fastbg: {_escaped(one_line(run), LINE_LIMIT)}"
    return "\n".join([heading, "", *_table(run, shown), *_rest(run, shown), ""])


def _table(run: RunResult, shown: Sequence[RequestResult]) -> Iterable[str]:
    yield "| request | status | response, ms | write, ms | lead, ms | verdict | evidence |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- |"
    for request in shown:
        cells = (
            _escaped(request.name, CELL_LIMIT),
            "-" if request.trace.status is None else str(request.trace.status),
            milliseconds(request.response_ms),
            milliseconds(request.write_ms),
            milliseconds(request.lead_ms),
            f"{'✗' if request.unmet else '✓'} {request.judgement.verdict}",
            ", ".join(request.judgement.evidence) or "-",
        )
        yield f"| {' | '.join(cells)} |"
    if len(shown) < len(run.requests):
        yield ""
        yield f"{len(run.requests) - len(shown)} more requests are not shown; what is not as expected comes first."


def _rest(run: RunResult, shown: Sequence[RequestResult]) -> Iterable[str]:
    told = [
        (request.name, [*map(str, request.unmet), *([request.judgement.reason] if request.judgement.reason else [])])
        for request in shown
        if request.unmet
    ]
    notes = [f"**{_escaped(name, CELL_LIMIT)}**: {_escaped('; '.join(why), LINE_LIMIT)}" for name, why in told]
    remarks = [*run.remarks[:MOST_LINES], *([run.stopped] if run.stopped else [])]
    notes += [_escaped(remark, LINE_LIMIT) for remark in remarks]
    if notes:
        yield ""
        yield from (f"- {note}" for note in notes)
    yield ""
    yield _escaped(conclusion(run).plain, 4 * LINE_LIMIT)
    yield ""
    yield "<details><summary>Time lines</summary>"
    yield ""
    yield f"<pre>{html.escape(_timelines(shown[:MOST_LINES]))}</pre>"
    yield ""
    yield "</details>"


def _timelines(shown: Sequence[RequestResult]) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(timelines(shown, encoding="utf-8"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _escaped(text: str, limit: int | None = None) -> str:
    """``text`` on one line of at most ``limit`` characters, which Markdown shows as it is."""
    text = safe(text)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _MARKUP.sub(lambda match: f"&#{ord(match.group())};", text)
