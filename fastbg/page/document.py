"""The HTML document around the content of a page: one file that loads nothing, with its script and its styles."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib import resources

from fastbg.page.markup import Markup, element, joined
from fastbg.page.rows import Row, encoded
from fastbg.report.timelines import Legend

MAX_KEPT = 10_000  # requests of a page
SHAPES = {  # SVG paths around the point of a mark, like the terminal's marks: a font may draw those beside the line
    "waiting": "M-7 0H7",
    "response": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "working": "M-7.5 0H7.5",
    "write": "M0 -5.5L5.5 0L0 5.5L-5.5 0z",
    "failed": "M-4.5 -4.5L4.5 4.5M4.5 -4.5L-4.5 4.5",
    "dropped": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "lost": "M0 -5.5L5.5 0L0 5.5L-5.5 0z",
    "open": "M-4.5 -4.5L0 0L-4.5 4.5M0.5 -4.5L5 0L0.5 4.5",
}
NO_SCRIPT = (
    "The time lines need JavaScript, which is off. The tables below have verdicts and times without it. "
    "The page loads nothing from the network."
)


@cache
def _file(name: str) -> Markup:
    return Markup(resources.files("fastbg.page").joinpath(name).read_text("utf-8"))


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


@cache
def policy() -> str:
    """Return the Content-Security-Policy: only this script and these styles, and no request except to the own origin.

    A file has no other origin, so a saved page can load nothing at all.
    """
    rules = {
        "default-src": "'none'",
        "script-src": _hash(_file("page.js")),
        "style-src": _hash(_file("page.css")),
        "img-src": "data:",  # the empty icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def document(title: str, content: Iterable[Markup]) -> str:
    """Return a whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="fastbg"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", _file("page.css")),
    )
    switch = element("button", "Light or dark", type="button", hidden=True, data_theme_switch=True)
    top = element("header", element("p", "fastbg"), switch, class_="top")
    body = element("body", top, element("main", *content), element("script", _file("page.js")))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def view(rows: Iterable[Row], legend: Legend, **settings: object) -> Markup:
    """Return the time lines of ``rows``, which the script draws, with the legend. ``settings``: more for the script."""
    marks = [(kind, SHAPES[kind], text) for kind, text in legend.marks]
    data = {"legend": marks, "zero": legend.zero, "max": MAX_KEPT, "live": False, **settings, **encoded(rows)}
    items = (
        element(
            "li", element("svg", element("path", d=shape, class_=kind), viewBox="-8 -8 16 16", aria_hidden="true"), text
        )
        for kind, shape, text in marks
    )
    return element(
        "section",
        element("script", json_data(data), type="application/json"),
        element("noscript", element("p", NO_SCRIPT, class_="warning")),
        element("ul", *items, class_="legend"),
        data_view=True,
    )


def json_data(value: Mapping[str, object]) -> Markup:
    """Return JSON that cannot end the `script` element it is in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", r"\u003c"))


def table(headers: Iterable[str], rows: Iterable[Iterable[Markup | str]], *, numbers: frozenset[int]) -> Markup:
    """Return a table. ``numbers``: the indexes of its columns with numbers, which are at the right."""

    def cell(name: str, number: int, content: Markup | str) -> Markup:
        scope = "col" if name == "th" else None
        return element(name, content, scope=scope, class_="number" if number in numbers else None)

    head = element("tr", *(cell("th", number, text) for number, text in enumerate(headers)))
    body = (element("tr", *(cell("td", number, each) for number, each in enumerate(row))) for row in rows)
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def state(verdict: str, text: str | None = None) -> Markup:
    """Return a verdict in its colour."""
    return element("span", text or verdict, class_=f"state {verdict}")


def section(title: str, *content: Markup | None) -> Markup:
    """Return a heading and its content."""
    return joined([element("h2", title), *content])
