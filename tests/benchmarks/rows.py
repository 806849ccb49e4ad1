"""What a benchmark has to say: a measured value against the floor it cannot beat."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """``what`` was measured, against which ``floor``; the ``ratio`` of both and what it ``must`` be ("<= 3").

    ``ok``: it is. ``detail``: the values behind the ratio, with their units.
    """

    what: str
    floor: str
    ratio: float
    must: str
    ok: bool
    detail: str
