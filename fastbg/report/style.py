"""The style of all reports: colours, check marks, numbers."""

from pathlib import Path

from rich.console import Console

from fastbg.events import Verdict
from fastbg.report.timelines import glyphs_for

SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))

STYLES: dict[Verdict, str] = {
    "response-first": "green",
    "work-first": "magenta",
    "no-work": "dim",
    "failed": "bold red",
    "dropped": "bold red",
    "lost": "bold red",
    "unproven": "bold yellow",
}


def plain_console() -> Console:
    """Return a console that does not interpret markup in texts."""
    return Console(highlight=False, markup=False, emoji=False)


def checks(encoding: str) -> tuple[str, str]:
    return ("✓", "✗") if glyphs_for(encoding).response == "●" else ("ok", "NO")


def milliseconds(value: float | None) -> str:
    """Format milliseconds: one decimal below 100, none above, ``-`` for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def typed_path(path: Path) -> str:
    """Return ``path`` as people type it: relative if it is below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
