"""One bar per request: how long the client waited, when the tasks ran, when each write was seen."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from fastbg.evidence.tasks import Mark
from fastbg.text import escape_control


class Timed(Protocol):
    """The data for the bar of a request, in milliseconds from its start; None for events that were not seen."""

    @property
    def name(self) -> str:
        """Shown before the bar."""

    @property
    def part(self) -> str:
        """Shown above the first bar of its part."""

    @property
    def is_over(self) -> bool:
        """Whether the bar has stopped growing."""

    @property
    def response_ms(self) -> float | None:
        """When the response was complete."""

    @property
    def waited_ms(self) -> float | None:
        """How long it was waited for, also if there was none."""

    @property
    def spans_ms(self) -> Sequence[tuple[float, float | None]]:
        """Start and end of each task."""

    @property
    def writes_ms(self) -> Sequence[float]:
        """When each write was seen."""

    @property
    def marks_ms(self) -> Sequence[tuple[float | None, Mark]]:
        """What did not end well, with its time; None for an open end."""

    def ms(self, t_ns: int | None) -> float | None:
        """Convert a monotonic time to milliseconds."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks of a bar. They differ in shape, not only in colour."""

    waiting: str
    response: str
    working: str
    write: str
    failed: str
    dropped: str
    lost: str
    open: str
    idle: str


UNICODE = Glyphs(
    waiting="━", response="●", working="┄", write="◆", failed="╳", dropped="○", lost="◇", open="»", idle=" "
)
ASCII = Glyphs(waiting="=", response="R", working="-", write="W", failed="X", dropped="D", lost="L", open=">", idle=" ")

STYLES = {
    "waiting": Style(color="magenta", bold=True),
    "response": Style(color="cyan", bold=True),
    "working": Style(color="blue"),
    "write": Style(color="green", bold=True),
    "failed": Style(color="red", bold=True),
    "dropped": Style(color="red", bold=True),
    "lost": Style(color="red", bold=True),
    "open": Style(color="yellow", bold=True),
    "idle": Style(),
}


def glyphs_for(encoding: str) -> Glyphs:
    """Return marks that ``encoding`` supports."""
    return UNICODE if encoding.lower().startswith("utf") else ASCII


@dataclass(frozen=True, slots=True)
class Legend:
    """The texts of the legend, None for marks that no bar has. ``zero``: label of the axis.

    ``name_width``: columns for the names.
    """

    zero: str
    waiting: str
    response: str
    working: str
    write: str | None
    failed: str
    dropped: str
    lost: str | None
    open: str
    name_width: int

    @property
    def marks(self) -> Iterator[tuple[str, str]]:
        """Yield the kind of each mark, and its text."""
        for kind in ("waiting", "response", "working", "write", "failed", "dropped", "lost", "open"):
            if text := getattr(self, kind):
                yield kind, text


MAX_NAME_WIDTH = 30
CROWD = 4  # marks that need more than a quarter of a bar are too many to be side by side
_BAD_ENDS = {"failed": "failed", "dropped": "dropped"}
CLIENT_LEGEND = Legend(
    "ms since sent", "client waits", "response", "task runs", "write seen", **_BAD_ENDS, lost="lost", open="still runs",
    name_width=18,
)  # fmt: skip
JOURNAL_LEGEND = Legend(
    "ms since received", "no response yet", "response sent", "task runs", None, **_BAD_ENDS, lost=None,
    open="no end recorded", name_width=26,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one request; ``end_ms``: the end of the scale. ``now_ms``: the current time while the bar grows."""

    result: Timed
    end_ms: float
    now_ms: float | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        glyphs = glyphs_for(options.encoding)
        cells = self._cells(width)
        start = 0
        for at in range(1, width + 1):
            if at == width or cells[at] != cells[start]:
                kind = cells[start]
                yield Segment(getattr(glyphs, kind) * (at - start), STYLES[kind])
                start = at

    def _cells(self, width: int) -> list[str]:
        """Return the kind of mark of each column."""
        cells = ["idle"] * width
        scale = (width - 1) / max(self.end_ms, 1e-9)

        def column(ms: float) -> int:
            return min(max(int(ms * scale), 0), width - 1)

        result, now = self.result, self.now_ms
        until = result.waited_ms if result.waited_ms is not None else now
        if until is not None:
            cells[: column(until)] = ["waiting"] * column(until)
        for started, ended in result.spans_ms:
            first, last = column(started), column(self.end_ms if ended is None and now is None else ended or now or 0)
            for at in range(first, last):
                if cells[at] == "idle":
                    cells[at] = "working"
        marks = [
            (self.end_ms if ms is None else ms, kind)
            for ms, kind in marks_of(result)
            if ms is not None or now is None  # while the bar grows, an open end is no news
        ]
        self._place(cells, [(column(ms), kind) for ms, kind in sorted(marks)])
        return cells

    @staticmethod
    def _place(cells: list[str], marks: Sequence[tuple[int, str]]) -> None:
        """Place the marks in order, side by side if they would have the same column.

        Many marks would push each other away from their times: then one stands for all of its kind in a column.
        """
        if len(marks) > len(cells) // CROWD:
            marks = list(dict.fromkeys(marks))
        columns: list[int] = []
        for column, _ in marks:
            columns.append(max(column, columns[-1] + 1) if columns else column)
        for at in range(len(columns) - 1, -1, -1):  # move marks beyond the right edge back
            columns[at] = min(columns[at], len(cells) - len(columns) + at)
        for column, (_, kind) in zip(columns, marks, strict=True):
            if cells[max(column, 0)] != "response":  # no mark is in its place, however many there are
                cells[max(column, 0)] = kind


def marks_of(result: Timed) -> list[tuple[float | None, str]]:
    """Return the time and the kind of each mark of a bar. None: an open end, which is drawn at the end of the scale."""
    marks: list[tuple[float | None, str]] = [(ms, "write") for ms in result.writes_ms]
    marks += result.marks_ms
    if result.response_ms is not None:
        marks.append((result.response_ms, "response"))
    return marks


def timelines(
    results: Sequence[Timed],
    *,
    encoding: str,
    now_ns: int | None = None,
    legend: Legend = CLIENT_LEGEND,
    explain: bool = True,
) -> RenderableType:
    """Return all bars on one scale, with an axis and the legend below.

    ``now_ns``: the current time while requests are open. ``explain``: add the names of the parts and the legend.
    """
    nows = [_now_ms(result, now_ns) for result in results]
    ends = [last_ms(result, now) for result, now in zip(results, nows, strict=True)]
    end_ms = max(ends, default=0.0) * 1.02 or 1.0
    width = max(
        [legend.name_width, *(min(cell_len(escape_control(result.name)), MAX_NAME_WIDTH) for result in results)]
    )
    lines: list[RenderableType] = []
    part = ""
    for result, now in zip(results, nows, strict=True):
        if explain and result.part != part:
            part = result.part
            lines.append(Text(escape_control(part), style="bold", no_wrap=True, overflow="ellipsis"))
        lines.append(_row(width, Text(escape_control(result.name)), Bar(result, end_ms, now)))
    lines.append(_row(width, Text(legend.zero, style="dim"), Axis(end_ms)))
    return Group(*lines, *([Explanation(legend)] if explain else []))


def _row(width: int, name: Text, bar: RenderableType) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=width, no_wrap=True, overflow="ellipsis")
    row.add_column(ratio=1, no_wrap=True)
    row.add_row(name, bar)
    return row


@dataclass(frozen=True, slots=True)
class Explanation:
    """The marks of ``legend`` and their texts, in as many lines as they need. No item is broken."""

    legend: Legend

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyphs = glyphs_for(options.encoding)
        line = Text()
        for kind, text in self.legend.marks:
            item = Text.assemble((getattr(glyphs, kind), STYLES[kind]), f" {text}")
            if line and line.cell_len + 2 + item.cell_len > options.max_width:
                yield line
                line = Text()
            line = Text("  ").join([line, item]) if line else item
        yield line


def plain_timelines(results: Sequence[Timed], *, width: int) -> list[str]:
    """Return `timelines` as lines of text, ``width`` columns wide, for files."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(timelines(results, encoding="utf-8"))
    return [line.rstrip() for line in captured.get().splitlines()]


def _now_ms(result: Timed, now_ns: int | None) -> float | None:
    return None if now_ns is None or result.is_over else result.ms(now_ns)


def last_ms(result: Timed, now_ms: float | None = None) -> float:
    """Return the last time that the bar of ``result`` shows."""
    ends = [*(ended for _, ended in result.spans_ms), *(ms for ms, _ in result.marks_ms)]
    return max(time or 0.0 for time in (now_ms, result.waited_ms, *result.writes_ms, *ends))


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis with round numbers from 0 to ``end_ms``."""

    end_ms: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        line = [" "] * width
        step = self._step(max(width // 10, 1))
        scale = (width - 1) / self.end_ms
        tick = 0.0
        while tick <= self.end_ms:
            label = f"{tick:g}"
            at = int(tick * scale)
            if at + len(label) <= width:
                line[at : at + len(label)] = label
            tick = round(tick + step, 9)
        yield Segment("".join(line), Style(dim=True))

    def _step(self, max_labels: int) -> float:
        """Return the smallest 1, 2 or 5 times a power of ten that needs at most ``max_labels`` labels."""
        step = 0.001
        while True:
            for factor in (1, 2, 5):
                if self.end_ms / (step * factor) <= max_labels:
                    return step * factor
            step *= 10
