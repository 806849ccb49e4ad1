"""Which bytes of a followed file belong to which request. Pure: it is told what was appended.

A text with the request's own mark in it belongs to that request wherever it turns up. A text without one (the
seed's dependency writes the same line for everybody) may come from a second demo in the same folder: it counts only
if it lies between the file's size when the client sent the request and the size when the server was done with it.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from fastbg.events import Appended
from fastbg.timeline import ExpectedWrite, Trace, Write


@dataclass(slots=True)
class _Tape:
    """The bytes of one file since we follow it: ``data`` begins at ``start``; ``pieces`` holds (end, t_ns)."""

    start: int = 0
    data: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[int, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def append(self, item: Appended) -> None:
        if item.offset != self.end:
            self.start = item.offset
            self.data.clear()
            self.pieces.clear()
        self.data += item.data
        self.pieces.append((self.end, item.t_ns))

    def find(self, text: bytes, lower: int, upper: int) -> list[int]:
        """The offsets of each ``text`` that lies wholly between ``lower`` and ``upper``, in their order."""
        offsets = []
        at = self.data.find(text, max(lower - self.start, 0), max(upper - self.start, 0))
        while at >= 0:
            offsets.append(self.start + at)
            at = self.data.find(text, at + len(text), max(upper - self.start, 0))
        return offsets

    def seen_ns(self, end: int) -> int:
        """When the byte before ``end`` was seen."""
        return self.pieces[bisect_left(self.pieces, (end, 0))][1]


@dataclass(slots=True, eq=False)
class _Claim:
    expected: ExpectedWrite
    data: bytes
    lower: int
    upper: int | None = None


class Attribution:
    """Hands the bytes of followed files to the requests that expect them."""

    def __init__(self) -> None:
        self._tapes: dict[str, _Tape] = {}
        self._open: list[_Claim] = []
        self._taken: dict[tuple[str, int], _Claim] = {}
        self._claims: dict[str, list[_Claim]] = {}

    def sent(self, trace: Trace, sizes: dict[str, int]) -> None:
        """``trace`` is being sent; its writes can only lie behind these ``sizes`` (path to bytes)."""
        claims = [
            _Claim(expected, expected.text.encode(), sizes.get(expected.file, 0)) for expected in trace.expected_writes
        ]
        self._claims[trace.request_id] = claims
        self._open += claims
        self._settle()

    def finished(self, trace: Trace, sizes: dict[str, int]) -> None:
        """The server is done with ``trace``; its unmarked writes can only lie before these ``sizes``."""
        for claim in self._claims.get(trace.request_id, []):
            claim.upper = sizes.get(claim.expected.file)
        self._settle()

    def appended(self, item: Appended) -> None:
        """A follower saw ``item``."""
        self._tapes.setdefault(str(item.path), _Tape()).append(item)
        self._settle(str(item.path))

    def restarted(self, path: str) -> None:
        """``path`` was truncated or replaced: offsets count from 0 again."""
        self._tapes[path] = _Tape()
        for claim in self._open:
            if claim.expected.file == path:
                claim.lower = 0

    def _settle(self, path: str | None = None) -> None:
        for claim in [claim for claim in self._open if path in (None, claim.expected.file)]:
            if self._take(claim, set()):
                self._open.remove(claim)

    def _take(self, claim: _Claim, tried: set[tuple[str, int]]) -> bool:
        """Find a write for ``claim``, if need be by finding another one for the claim that holds it."""
        file = claim.expected.file
        tape = self._tapes.get(file)
        if tape is None:
            return False
        if claim.expected.marked:
            offsets = tape.find(claim.data, claim.lower, tape.end)
        elif claim.upper is not None and claim.upper <= tape.end:
            # The task's own write is the last thing that it does, so the last text before the end is the likeliest.
            offsets = tape.find(claim.data, claim.lower, claim.upper)[::-1]
        else:
            return False
        for offset in offsets:
            place = (file, offset)
            if place in tried:
                continue
            tried.add(place)
            holder = self._taken.get(place)
            if holder is None or self._take(holder, tried):
                self._taken[place] = claim
                seen_ns = tape.seen_ns(offset + len(claim.data))
                claim.expected.write = Write(file, claim.expected.text, seen_ns, offset, len(claim.data))
                return True
        return False
