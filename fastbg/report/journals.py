"""Several journals in one report: the headings above their requests, and a table with one row per journal."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from fastbg.evidence.history import JournalSummary
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.report.style import STYLES
from fastbg.text import escape_control

MAX_HEADING = 24  # columns; the first column of the tables has them where the terminal has 60
PROBLEMS = ("failed", "dropped", "lost", "unproven")


def under_headings(history: JournalSummary) -> Sequence[RecordedRequest]:
    """Return the last requests, each with its host as heading, or with its journal where the host says nothing.

    One journal of one host needs no heading.
    """
    last, names = history.last, short_names([each.journal for each in history.journals])
    journals = dict(zip((each.journal for each in history.journals), names, strict=True))
    hosts = [request.host or journals.get(request.journal, "unknown host") for request in last]
    if len(set(hosts)) > 1:
        headings = hosts
    elif history.journals:
        headings = [journals[request.journal] for request in last]
    else:
        return last
    return [
        replace(request, part=cut_middle(escape_control(heading), MAX_HEADING))
        for request, heading in zip(last, headings, strict=True)
    ]


def journals_table(journals: Sequence[JournalSummary]) -> Table:
    """Return a table with one row per journal: hosts, numbers of requests and processes, and what did not end well."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("journal")
    table.add_column("host")
    table.add_column("requests", justify="right", no_wrap=True)
    table.add_column("processes", justify="right", no_wrap=True)
    table.add_column("problems", no_wrap=True)
    names = short_names([each.journal for each in journals])
    for name, each in zip(names, journals, strict=True):
        table.add_row(
            _name(name),
            _name(", ".join(sorted(each.hosts)) or "-"),
            f"{each.requests:,}",
            f"{each.processes:,}",
            _problems(each),
        )
    return table


def _name(name: str) -> Text:
    """Return a cell that Rich shortens before it shortens any column without wrapping."""
    return Text(cut_middle(escape_control(name), MAX_HEADING), no_wrap=True, overflow="ellipsis")


def _problems(history: JournalSummary) -> Text:
    found = [
        Text(f"{count:,} {verdict}", style=STYLES[verdict])
        for verdict, count in history.counts.items()
        if count and verdict in PROBLEMS
    ]
    return Text("\n").join(found) if found else Text("-")


def short_names(paths: Sequence[str]) -> list[str]:
    """Return ``paths`` without the folders at the start and the names at the end that all of them have.

    ``["a/.fastbg/journal.jsonl", "b/.fastbg/journal.jsonl"]`` becomes ``["a", "b"]``.
    """
    parts = [re.split(r"(?<=[^/])/+(?=.)", path) for path in paths]
    start = _common(parts)
    parts = [each[start:] for each in parts]
    end = _common([each[::-1] for each in parts])
    return ["/".join(each[: len(each) - end]) for each in parts]


def _common(parts: Iterable[Sequence[str]]) -> int:
    """Return how many elements all of ``parts`` have in common at their start. At least one element stays."""
    parts = list(parts)
    most = min(map(len, parts), default=1) - 1
    return next((at for at in range(most) if len({each[at] for each in parts}) > 1), most)


def cut_middle(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters: names of machines differ at their start or at their end."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[-end:]}"
