"""The page of runs: the question, the time lines, the moral, the code and the tables."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fastbg.evidence.results import Group, RequestResult, RunResult, percentile
from fastbg.page.document import MAX_KEPT, document, section, state, table, view
from fastbg.page.listing import listing
from fastbg.page.markup import Markup, element, joined, link, prose
from fastbg.page.rows import row_of_result
from fastbg.report.console import command, served
from fastbg.report.details import remarks
from fastbg.report.failures import failure_lines
from fastbg.report.files import write
from fastbg.report.moral import moral
from fastbg.report.numbers import milliseconds
from fastbg.report.sentences import conclusion, evidence
from fastbg.report.style import SHARES, verdict_text
from fastbg.report.tables import writes_of
from fastbg.report.timelines import CLIENT_LEGEND
from fastbg.scripting.source_files import AppCode

MAX_ROWS = 100  # of a table; the time lines have all requests
NO_CODE = AppCode((), ())


def save_page(runs: Sequence[RunResult], path: Path, *, code: Sequence[AppCode] = ()) -> None:
    """Write the page of ``runs`` to ``path``. ``code``: the source files of each run. Raises `FastbgError`."""
    write(path, run_page(runs, code), "the page")


def run_page(runs: Sequence[RunResult], code: Sequence[AppCode] = ()) -> str:
    """Return the page of ``runs``, each with its ``code``."""
    codes = [*code, *[NO_CODE] * (len(runs) - len(code))]
    articles = [
        element("article", *_article(run, each), id=f"run-{number}")
        for number, (run, each) in enumerate(zip(runs, codes, strict=True), 1)
    ]
    title = (runs[0].title or command(runs[0])) if len(runs) == 1 else f"{len(runs)} scripts"
    overview = [element("h1", title), _overview(runs)] if len(runs) > 1 else []
    return document(f"{title} – fastbg", [*overview, *articles])


def _overview(runs: Sequence[RunResult]) -> Markup:
    rows = (
        (
            element("a", run.name, href=f"#run-{number}"),
            element("span", "yes" if run.ok else run.stopped or f"{run.unmet} not", class_=None if run.ok else "unmet"),
            f"{run.total:,}",
            _counts(run.counts.items()),
        )
        for number, run in enumerate(runs, 1)
    )
    return table(("script", "as expected", "requests", "verdicts"), rows, numbers=frozenset({2}))


def _article(run: RunResult, code: AppCode) -> Iterator[Markup]:
    if run.warning:
        yield element("p", run.warning, class_="warning")
    yield element("p", element("code", command(run)), f"  {served(run)}", class_="quiet")
    yield element("h1", run.title or command(run))
    if lines := failure_lines([run]):
        items = (element("li", line) for line in lines)
        yield section("Not as expected", element("ul", *items, class_="unmet"))
    rows = (row_of_result(request, str(number)) for number, request in enumerate(run.requests[-MAX_KEPT:]))
    yield view(rows, CLIENT_LEGEND)
    last = moral(run)
    yield element("p", prose(last or conclusion(run).plain), class_="moral")
    if marked := [source for source in code.files if source.parts]:
        yield section("The code", *map(listing, marked))
    yield section("The requests", _groups(run.groups) if run.is_load else _requests(run.requests))
    yield section("What the files got", _written(run))
    if lines := [line for line, _ in remarks(run)]:
        yield section("Remarks", element("ul", *(element("li", line) for line in lines)))
    yield from _explanation(run)
    yield from (element("p", line, class_="quiet") for line in _footer(run, conclude=last is not None))


def _footer(run: RunResult, *, conclude: bool) -> Iterator[str]:
    if conclude:
        yield conclusion(run).plain
    yield from evidence(run).plain.split("\n")


def _requests(requests: Sequence[RequestResult]) -> Markup:
    rows = (
        (
            each.full_name,
            f"{each.trace.request.method} {each.trace.request.path}",
            "-" if each.trace.status is None else str(each.trace.status),
            milliseconds(each.response_ms),
            milliseconds(each.write_ms),
            milliseconds(each.lead_ms),
            state(
                each.judgement.verdict,
                verdict_text(each.judgement.verdict, as_expected=not each.unmet, encoding="utf-8"),
            ),
            ", ".join(each.judgement.evidence) or "no evidence",
        )
        for each in requests[:MAX_ROWS]
    )
    headers = ("request", "method and path", "status", "response ms", "write ms", "lead ms", "verdict", "evidence")
    return joined([table(headers, rows, numbers=frozenset({2, 3, 4, 5})), _more(len(requests))])


def _groups(groups: Iterable[Group]) -> Markup:
    """Return a table of many requests: the times of each name, and its verdicts."""
    rows = (
        (
            group.full_name,
            f"{group.count:,}",
            what,
            *(milliseconds(percentile(sorted(times), share)) for _, share in SHARES),
            _counts(group.verdicts.items()),
        )
        for group in groups
        for what, times in (("response", group.responses_ms), ("write", group.writes_ms), ("lead", group.leads_ms))
        if times
    )
    headers = ("request", "number", "ms", *(name for name, _ in SHARES), "verdicts")
    return table(headers, rows, numbers=frozenset({1, 3, 4, 5, 6}))


def _counts(counts: Iterable[tuple[str, int]]) -> Markup:
    found = [state(verdict, f"{count:,} {verdict}") for verdict, count in counts if count]
    return joined(part for each in found for part in (", ", each) if part != ", " or each is not found[0])


def _written(run: RunResult) -> Markup:
    writes = writes_of(run)
    if not writes:
        return element("p", "No write was seen." if run.files else "No file is followed.", class_="quiet")
    rows = (
        (milliseconds((each.t_ns - run.begin_ns) / 1e6), each.name, run.name_of(each.file), each.text.strip("\r\n"))
        for each in writes[:MAX_ROWS]
    )
    found = table(("ms", "request", "file", "text"), rows, numbers=frozenset({0}))
    return joined([found, _more(len(writes))])


def _more(count: int) -> Markup | None:
    return element("p", f"and {count - MAX_ROWS:,} more", class_="quiet") if count > MAX_ROWS else None


def _explanation(run: RunResult) -> Iterator[Markup]:
    paragraphs = [element("p", prose(text)) for text in run.about.strip().split("\n\n") if text]
    if links := [element("li", link(each)) for each in run.links]:
        paragraphs.append(element("ul", *links))
    if paragraphs:
        yield section("Why", *paragraphs)
