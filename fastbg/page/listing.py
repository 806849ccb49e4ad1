"""The code of a scenario, with the lines of trap and remedy marked."""

from collections.abc import Sequence
from pathlib import Path

from fastbg.page.markup import Markup, element
from fastbg.report.code import TAB
from fastbg.scripting.source_code import SourceCode

_CLASSES = ("trap", "remedy")


def listing(source: SourceCode) -> Markup:
    """Return the functions and classes of a source file that have marked lines."""
    shown = sorted({number for part in source.parts for number in source.excerpt(part)})
    lines: list[Markup] = []
    before = 0
    for number in shown:
        if before and number > before + 1:
            lines.append(_line("", "", "…", ()))
        before = number
        lines.append(_line("", str(number), source.lines[number - 1], source.parts_of(number)))
    caption = element("figcaption", Path(source.path).name)  # not the folder: a page is handed on
    return element("figure", caption, element("pre", *lines, tabindex="0"))


def _line(where: str, number: str, text: str, parts: Sequence[str]) -> Markup:
    where = ", ".join(parts) or ("marked" if parts else where)
    kind = next((part if part in _CLASSES else "other" for part in parts), "")
    return element(
        "span",
        element("span", where, class_="where"),
        element("span", number, class_="no", aria_hidden="true"),
        element("span", text.expandtabs(TAB).rstrip()),
        class_=f"code {kind}".rstrip(),
    )
