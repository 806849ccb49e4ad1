"""The result of a benchmark: a measured value and its baseline."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. ``what``: its name. ``floor``: the baseline. ``must``: the limit of the ``ratio`` ("<= 3").

    ``ok``: whether the ratio is within the limit. ``detail``: both values with their units.
    """

    what: str
    floor: str
    ratio: float
    must: str
    ok: bool
    detail: str
