"""The page of journals: the time lines of the last requests, the totals, and a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from fastbg.evidence.history import JournalSummary
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.page.document import document, section, state, table, view
from fastbg.page.markup import Markup, element, joined
from fastbg.page.rows import row_of_record
from fastbg.report.files import write
from fastbg.report.history import counts_of, reasons, remarks, summary
from fastbg.report.journals import under_headings
from fastbg.report.numbers import milliseconds
from fastbg.report.timelines import JOURNAL_LEGEND

MAX_ROWS = 100  # of the table; the time lines have all requests


def save_journal_page(history: JournalSummary, path: Path) -> None:
    """Write the page of journals to ``path``. Raises `FastbgError`."""
    write(path, journal_page(history), "the page")


def journal_page(history: JournalSummary) -> str:
    """Return the page of journals with each of the last requests."""
    names = [each.journal for each in history.journals] or [history.journal]
    title = names[0] if len(names) == 1 else f"{len(names)} journals"
    return document(f"{title} – fastbg report", _content(history, names))


def _content(history: JournalSummary, names: Sequence[str]) -> Iterator[Markup]:
    yield element("p", element("code", "fastbg report"), f"  {', '.join(names)}", class_="quiet")
    yield element("h1", "What the server recorded")
    yield element("p", counts_of(history), class_="quiet")
    last = under_headings(history)
    totals, *more = summary(history)
    yield element("p", totals.plain, class_="moral")
    yield view((row_of_record(each, str(number)) for number, each in enumerate(last)), JOURNAL_LEGEND)
    yield from (_line(text) for text in more)
    if lines := [*reasons(last), *remarks(last, history.blocked)]:
        yield section("Remarks", element("ul", *(element("li", line.plain) for line in lines)))
    yield section("The last requests", _requests(last))


def _line(text: Text) -> Markup:
    return element("p", text.plain, class_="warning" if text.style == "yellow" else "quiet")


def _requests(recorded: Sequence[RecordedRequest]) -> Markup:
    rows = (
        (
            each.name,
            each.part,
            "-" if each.server.status is None else str(each.server.status),
            milliseconds(each.response_ms),
            milliseconds(each.done_ms),
            state(each.judgement.verdict),
            each.judgement.reason or "",
        )
        for each in recorded[-MAX_ROWS:]
    )
    headers = ("request", "host", "status", "sent ms", "done ms", "verdict", "reason")
    found = table(headers, rows, numbers=frozenset({2, 3, 4}))
    more = len(recorded) - MAX_ROWS
    earlier = f"{more:,} earlier requests are in the time lines only." if more > 0 else None
    return joined([element("p", earlier, class_="quiet") if earlier else None, found])
