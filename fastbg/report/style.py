"""The style of all reports: colours, check marks, numbers."""

from pathlib import Path

from rich.console import Console

from fastbg.events import Verdict
from fastbg.report.timelines import glyphs_for

SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))

STYLES: dict[Verdict, str] = {
    "response-first": "green",
    "overlapping": "magenta",
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


GOOD: tuple[Verdict, ...] = ("response-first", "no-work")


def unmet_mark(encoding: str) -> str:
    return "✗" if glyphs_for(encoding).response == "●" else "NOT"


def verdict_text(verdict: Verdict, *, as_expected: bool, encoding: str) -> str:
    """Return the verdict, with a mark if it is not as expected. A bad end that was expected says so."""
    if not as_expected:
        return f"{unmet_mark(encoding)} {verdict}"
    return verdict if verdict in GOOD else f"{verdict} (expected)"


def typed_path(path: Path) -> str:
    """Return ``path`` as people type it: relative if it is below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
