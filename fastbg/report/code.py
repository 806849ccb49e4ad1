"""Source code with the marks of a script beside it, and TOML: coloured on a terminal, plain text elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from fastbg.scripting.source_code import SourceCode
from fastbg.text import escape_control

MAX_LABEL = 14  # columns; longer names of parts are numbered instead
TAB = 4  # columns
THEME = "ansi_dark"  # only colours of the terminal itself, on its own background

_STYLES = {"trap": "bold red", "remedy": "bold green"}
_OTHER_STYLE = "bold cyan"
_UNNAMED = ">"  # the label of marks in a script without parts


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines of code with labels at their left. Long lines are wrapped, except in ``print(…, soft_wrap=True)``.

    ``shown``: the numbers of the lines to show, from 1. ``labels``: of marked lines, by their numbers.
    """

    lines: Sequence[str]
    language: Literal["python", "toml"]
    shown: Sequence[int]
    labels: Mapping[int, Text] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = _texts(self.lines, self.language, coloured=console.color_system is not None)
        width = max((label.cell_len for label in self.labels.values()), default=0)
        before = 0
        for number in self.shown:
            if before and number > before + 1:
                yield _margin(None, width) + Text("...", style="dim")
            before = number
            text, label = texts[number - 1], self.labels.get(number)
            margin = _margin(label, width)
            if label is not None:
                text.stylize("bold")
            for row in _rows(text, console, options, margin.cell_len):
                line = margin + row
                line.rstrip()
                yield line


def code(source: SourceCode, part: str | None = None) -> RenderableType:
    """Return a source file with the marks of all parts, or the statements with the marks of one ``part``."""
    if part is None:
        return _marked(source, range(1, len(source.lines) + 1))
    return _marked(source.only(part), source.excerpt(part))


def toml(text: str) -> RenderableType:
    """Return a TOML document or a piece of one."""
    lines = text.removesuffix("\n").split("\n")
    return Listing([line.removesuffix("\r") for line in lines], "toml", range(1, len(lines) + 1))


def _marked(source: SourceCode, shown: Sequence[int]) -> RenderableType:
    names = {part: escape_control(part) or _UNNAMED for part in source.parts}
    labels = _labels(source, names, shown)
    if all(label.cell_len <= MAX_LABEL for label in labels.values()):
        return Listing(source.lines, "python", shown, labels)
    numbers = {part: str(number) for number, part in enumerate(names, 1)}
    legend = [Text(f"{numbers[part]} = {name}", style=_style(part)) for part, name in names.items()]
    return Group(*legend, Text(), Listing(source.lines, "python", shown, _labels(source, numbers, shown)))


def _labels(source: SourceCode, names: Mapping[str, str], shown: Sequence[int]) -> dict[int, Text]:
    """Return the label of each marked line: the ``names`` of the parts that mark it."""
    marked = {number: parts for number in shown if (parts := source.parts_of(number))}
    return {
        number: Text(", ").join(Text(names[part], style=_style(part)) for part in parts)
        for number, parts in marked.items()
    }


def _style(part: str) -> str:
    return _STYLES.get(part, _OTHER_STYLE)


def _margin(label: Text | None, width: int) -> Text:
    """Return what is left of a line, for labels of ``width`` columns."""
    if not width:
        return Text()
    if label is None:
        return Text(" " * (width + 3))
    return Text.assemble(label, " " * (width - label.cell_len), " | ")


def _texts(lines: Sequence[str], language: str, *, coloured: bool) -> Sequence[Text]:
    plain = [escape_control(line.expandtabs(TAB)) for line in lines]
    if not coloured:
        return [Text(line) for line in plain]
    from rich.syntax import Syntax  # imports Pygments

    syntax = Syntax("", language, theme=THEME, background_color="default", word_wrap=True)
    return list(syntax.highlight("\n".join(plain)).split("\n", allow_blank=True))


def _rows(text: Text, console: Console, options: ConsoleOptions, margin: int) -> Sequence[Text]:
    """Wrap a line beside its ``margin`` (columns). What follows is indented more than its beginning."""
    width = max(options.max_width - margin, 1)
    text.rstrip()
    if options.no_wrap or text.cell_len <= width:
        return [text]
    indent = min(_blanks(text.plain) + TAB, width // 2)
    first = text.wrap(console, width, overflow="fold", no_wrap=False)[0]
    rest = text[len(first) + _blanks(text.plain[len(first) :]) :]
    more = rest.wrap(console, width - indent, overflow="fold", no_wrap=False)
    return [first, *(Text(" " * indent) + row for row in more)]


def _blanks(line: str) -> int:
    return len(line) - len(line.lstrip())
