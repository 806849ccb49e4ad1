"""Short reports: one line, and a Markdown summary that GitHub shows for a job."""

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from fastbg.events import Verdict
from fastbg.evidence.results import Group, RequestResult, RunResult, percentile
from fastbg.report.console import DEFAULT
from fastbg.report.files import write
from fastbg.report.moral import moral
from fastbg.report.numbers import milliseconds
from fastbg.report.sentences import conclusion
from fastbg.report.style import verdict_text
from fastbg.report.timelines import plain_timelines
from fastbg.text import escape_control

# GitHub accepts 1 MiB of summary per step. With these limits a run of any length stays below it.
MAX_ROWS = 200
MAX_LINES = 40  # timelines
CELL_LIMIT = 120  # characters, of which markup takes up to 6 bytes each
LINE_LIMIT = 300
WIDTH = 100  # columns of the timelines

# Characters that GitHub's Markdown may read as markup, also in bare links. Numeric references make them plain text.
_MARKUP = re.compile(r"[&<>|`*_\[\]\\~#@!${}]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def append_summary(runs: Sequence[RunResult], path: Path) -> None:
    """Append the `markdown` of each run to ``path``, after the summaries of other steps. Raises `FastbgError`."""
    write(path, "".join("\n" + markdown(run) for run in runs), "the summary for GitHub", append=True)


def one_line(runs: Sequence[RunResult]) -> str:
    """Return "ok" or "not ok" and the number of requests by verdict, over all runs."""
    total, unmet = sum(run.total for run in runs), sum(run.unmet for run in runs)
    parts = [f"{len(runs)} scripts"] if len(runs) > 1 else []
    parts.append(f"{total} requests" if total != 1 else "1 request")
    counts = ((sum(run.count(verdict) for run in runs), verdict) for verdict in get_args(Verdict))
    parts += [f"{count} {verdict}" for count, verdict in counts if count]
    if unmet:
        parts.append(f"{unmet} not as expected")
    parts += [run.stopped for run in runs if run.stopped]
    if len(runs) > 1 and (names := [run.name for run in runs if not run.ok]):
        parts.append(f"see {', '.join(names)}")
    return escape_control(f"{'ok' if all(run.ok for run in runs) else 'not ok'}: {', '.join(parts)}")


def markdown(run: RunResult) -> str:
    """Return a heading, a table of verdicts, unmet expectations, and the timelines."""
    listed = run.representatives
    if len(listed) > MAX_ROWS:
        listed = tuple(sorted(listed, key=lambda request: not request.unmet)[:MAX_ROWS])
    name = "" if run.name == DEFAULT else f" {_escaped(run.name, CELL_LIMIT)}"
    heading = f"### fastbg{name}: {_escaped(one_line([run]), LINE_LIMIT)}"
    return "\n".join([heading, "", *_table(run, listed), *_details(run, listed), ""])


def _table(run: RunResult, listed: Sequence[RequestResult]) -> Iterable[str]:
    yield "| request | status | response, ms | write, ms | lead, ms | verdict | evidence |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- |"
    groups = {(group.part, group.name): group for group in run.groups}
    for request in listed:
        group = groups[request.part, request.trace.name]
        cells = (
            _escaped(request.full_name, CELL_LIMIT),
            "-" if request.trace.status is None else str(request.trace.status),
            *(_times(times) for times in (group.responses_ms, group.writes_ms, group.leads_ms)),
            _verdicts(group),
            ", ".join(request.judgement.evidence) or "-",
        )
        yield f"| {' | '.join(cells)} |"
    if len(listed) < len(run.groups):
        yield ""
        yield f"{len(run.groups) - len(listed)} more requests are not shown. Unexpected results are listed first."
    if run.is_load:
        yield ""
        yield "Repeated requests: median (99th percentile)."


def _times(times: Sequence[float]) -> str:
    ascending = sorted(times)
    median = milliseconds(percentile(ascending, 0.5))
    return median if len(ascending) < 2 else f"{median} ({milliseconds(percentile(ascending, 0.99))})"


def _verdicts(group: Group) -> str:
    texts = {
        verdict: verdict_text(verdict, as_expected=not group.unmet, encoding="utf-8") for verdict in group.verdicts
    }
    if group.count == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{count} {texts[verdict]}" for verdict, count in group.verdicts.items())


def _details(run: RunResult, listed: Sequence[RequestResult]) -> Iterable[str]:
    unmet = [
        (
            request.full_name,
            [*map(str, request.unmet), *([request.judgement.reason] if request.judgement.reason else [])],
        )
        for request in listed
        if request.unmet
    ]
    notes = [f"**{_escaped(name, CELL_LIMIT)}**: {_escaped('; '.join(reasons), LINE_LIMIT)}" for name, reasons in unmet]
    remarks = [*run.remarks[:MAX_LINES], *([run.stopped] if run.stopped else [])]
    notes += [_escaped(remark, LINE_LIMIT) for remark in remarks]
    if notes:
        yield ""
        yield from (f"- {note}" for note in notes)
    yield ""
    yield _escaped(conclusion(run).plain, 4 * LINE_LIMIT)
    if (last := moral(run)) is not None:
        yield ""
        yield f"**{_escaped(last, 4 * LINE_LIMIT)}**"
    yield ""
    yield "<details><summary>Timelines</summary>"
    yield ""
    lines = "\n".join(plain_timelines(listed[:MAX_LINES], width=WIDTH))
    yield f"<pre>{html.escape(lines)}</pre>"
    yield ""
    yield "</details>"


def _escaped(text: str, limit: int | None = None) -> str:
    """Return ``text`` on one line of at most ``limit`` characters, escaped for Markdown."""
    text = escape_control(text if limit is None else text[: limit + 1])
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _MARKUP.sub(lambda match: f"&#{ord(match.group())};", text)
