"""The report as a picture: a self-contained SVG file."""

import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.rule import Rule

from fastbg.evidence.results import RunResult
from fastbg.report.console import final
from fastbg.report.files import write

WIDTH = 100  # columns

_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # Rich's template loads its font from the network
_TEXT = re.compile(r'textLength="([\d.]+)"([^>]*)>([^<]*)<')


def _in_cells(text: re.Match[str]) -> str:
    """Correct the length of a text: Rich counts characters, but a Chinese character fills two cells."""
    content = html.unescape(text[3])
    length = float(text[1]) * cell_len(content) / len(content)
    return f'textLength="{length:g}"{text[2]}>{text[3]}<'


def save_picture(runs: Sequence[RunResult], path: Path) -> None:
    """Write the final report of each run to ``path``. Raises `FastbgError`."""
    reports = [part for run in runs for part in (Rule(), final(run, encoding="utf-8"))]
    save_svg(reports[1:], path, title="fastbg demo")


def save_svg(reports: Iterable[RenderableType], path: Path, *, title: str) -> None:
    """Write what a terminal shows of ``reports`` to ``path``, `WIDTH` columns wide. Raises `FastbgError`."""
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(*reports)
    write(path, _TEXT.sub(_in_cells, _WEB_FONT.sub("", console.export_svg(title=title))), "the picture")
