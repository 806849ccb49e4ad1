"""Numbers in reports."""

from collections.abc import Iterable


def milliseconds(value: float | None) -> str:
    """Format milliseconds: one decimal below 100, none above, ``-`` for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def milliseconds_range(values: Iterable[float | None]) -> str:
    """Format the lowest and the highest of ``values``; one number if both look the same, ``-`` without values."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "-"
    low, high = milliseconds(known[0]), milliseconds(known[-1])
    return low if low == high else f"{low} to {high}"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return ``"1 task"`` or ``"2,000 tasks"``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
