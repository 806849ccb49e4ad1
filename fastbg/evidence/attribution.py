"""Which bytes of a followed file belong to which request. Pure: it is told what was appended.

A text with the request's own mark in it belongs to that request wherever it turns up. A text without one (the
seed's dependency writes the same line for everybody) may come from another request, or from a second demo in the same
folder: it counts only if it lies between the file's size when the client sent the request and the size when the server
was done with it. Each such text is given to one request; where there are several it might be, it says so.
"""

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastbg.events import Appended
from fastbg.evidence.trace import ExpectedWrite, Trace, Write

MAX_MATCH_BYTES = 4096  # bytes that the match of a pattern may span over several reads
KEPT = 2**20  # bytes of a file that are kept before we look what of it is needed

Place = tuple[str, int]


@dataclass(slots=True)
class _Tape:
    """The bytes of one file since we follow it: ``data`` begins at ``start``; ``pieces`` holds (end, t_ns)."""

    start: int = 0
    data: bytearray = field(default_factory=bytearray)
    pieces: deque[tuple[int, int]] = field(default_factory=deque)
    limit: int = KEPT

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

    def seen_ns(self, end: int) -> int:
        """When the byte before ``end`` was seen."""
        return self.pieces[bisect_left(self.pieces, (end, 0))][1]

    def forget(self, before: int) -> None:
        """What lies before that offset is not asked for any more."""
        del self.data[: max(before - self.start, 0)]
        self.start = max(before, self.start)
        while self.pieces and self.pieces[0][0] <= self.start:
            self.pieces.popleft()
        self.limit = max(KEPT, 2 * len(self.data))


class _Claim:
    """What a request is expected to bring to one file. ``lower``: size of the file when the request was sent."""

    def __init__(self, trace: Trace, expected: ExpectedWrite, lower: int) -> None:
        self.trace = trace
        self.expected = expected
        self.lower = lower
        self.found: set[int] = set()  # offsets
        self._data = expected.text.encode()
        self._pattern = re.compile(expected.text, re.MULTILINE) if expected.pattern else None

    @property
    def reach(self) -> int:
        """How many bytes its text may span."""
        return MAX_MATCH_BYTES if self._pattern else len(self._data)

    def matches(self, tape: _Tape, lower: int, upper: int) -> list[tuple[int, int]]:
        """Offset and length of each match that lies wholly between ``lower`` and ``upper``, in their order."""
        first, last = max(lower - tape.start, 0), max(upper - tape.start, 0)
        found = []
        if self._pattern is None:
            at = tape.data.find(self._data, first, last)
            while at >= 0:
                found.append((tape.start + at, len(self._data)))
                at = tape.data.find(self._data, at + len(self._data), last)
            return found
        text = tape.data[first:last].decode("utf-8", "surrogateescape")
        for match in self._pattern.finditer(text):
            if match[0]:
                before, inside = (
                    len(part.encode("utf-8", "surrogateescape")) for part in (text[: match.start()], match[0])
                )
                found.append((tape.start + first + before, inside))
        return found


class Attribution:
    """Hands the bytes of followed files to the requests that expect them. ``marks``: what every mark looks like.

    ``from_front``: a text without a mark is the first one in its window that nobody else has, not the last one.
    """

    def __init__(self, marks: str) -> None:
        self._marks = re.compile(marks.encode())
        self._tapes: dict[str, _Tape] = {}
        self._claims: dict[str, list[_Claim]] = {}  # by request
        self._unread: dict[str, list[_Claim]] = {}  # by file: the server is done, the follower is not
        self._taken: dict[Place, _Claim | None] = {}  # texts without a mark; None: of a request that is over
        self._complete_ones: list[_Claim] = []  # unmarked, in the order in which the server was done with them
        self._reach = 0
        self.from_front = False

    def sent(self, trace: Trace, sizes: dict[str, int]) -> None:
        """``trace`` is being sent; its writes can only lie behind these ``sizes`` (path to bytes)."""
        claims = [_Claim(trace, expected, sizes.get(expected.file, 0)) for expected in trace.expected.writes]
        self._claims[trace.request_id] = claims
        self._reach = max([self._reach, *(claim.reach for claim in claims)])

    def finished(self, trace: Trace, sizes: dict[str, int]) -> None:
        """The server is done with ``trace``; its unmarked writes can only lie before these ``sizes``."""
        for claim in self._claims.get(trace.request_id, []):
            claim.expected.size = sizes.get(claim.expected.file)
            if claim.expected.size is not None and not self._complete(claim):
                self._unread.setdefault(claim.expected.file, []).append(claim)

    def over(self, trace: Trace) -> None:
        """Nothing more is wanted for ``trace``, and nothing of it is kept."""
        for claim in self._claims.pop(trace.request_id, []):
            unread = self._unread.get(claim.expected.file, [])
            if claim in unread:
                unread.remove(claim)
            if not claim.expected.marked:
                self._complete_ones = [other for other in self._complete_ones if other is not claim]
                self._taken |= {(claim.expected.file, offset): None for offset in claim.found}

    def appended(self, item: Appended) -> list[Trace]:
        """A follower saw ``item``; returns the requests that it concerns."""
        path = str(item.path)
        tape = self._tapes.setdefault(path, _Tape())
        tape.append(item)
        begin = item.offset - self._reach  # a text may lie across two reads
        concerned = {}
        for claim in self._marked_since(path, tape, begin):
            self._take_marked(claim, tape, max(begin, claim.lower))
            concerned[claim.trace.request_id] = claim.trace
        unread = self._unread.get(path, [])
        for claim in [claim for claim in unread if self._complete(claim)]:
            unread.remove(claim)
            concerned[claim.trace.request_id] = claim.trace
        if len(tape.data) > tape.limit:
            self._forget(path, tape)
        return list(concerned.values())

    def restarted(self, path: str) -> None:
        """``path`` was truncated or replaced: offsets count from 0 again."""
        self._tapes[path] = _Tape()
        self._taken = {place: holder for place, holder in self._taken.items() if place[0] != path}
        for claims in self._claims.values():
            for claim in claims:
                if claim.expected.file == path and len(claim.found) < claim.expected.count:
                    claim.lower = 0

    def _marked_since(self, path: str, tape: _Tape, begin: int) -> Iterator[_Claim]:
        """The claims of every request whose mark stands in the file behind ``begin``."""
        marks = {match[0] for match in self._marks.finditer(tape.data, max(begin - tape.start, 0))}
        for mark in marks:
            for claim in self._claims.get(mark.decode(), []):
                if claim.expected.marked and claim.expected.file == path:
                    yield claim

    def _complete(self, claim: _Claim) -> bool:
        """Whether the follower has come as far as the server had; then the texts without a mark are looked for."""
        expected, size = claim.expected, claim.expected.size
        tape = self._tapes.get(expected.file)
        if size is None or (size and size > claim.lower and (tape is None or tape.end < size)):
            return False
        expected.complete = True
        if not expected.marked:
            self._complete_ones.append(claim)
            self._take_unmarked(claim)
        return True

    def deal_from_front(self) -> None:
        """From now on the texts without a mark are taken from the front, those that are not taken for good as well.

        The last text in its window is the likeliest to be a request's own, since to write is mostly the last thing
        that its task does. But who takes the last one may take it from a request that has no other, as will be known
        only when that ends. The first one is always safe, if requests take in the order in which they end: of all
        texts in the window it is the one that fewest of the later windows hold.
        """
        self.from_front = True
        for claim in self._complete_ones:
            for offset in claim.found:
                del self._taken[claim.expected.file, offset]
            claim.found.clear()
            claim.expected.writes.clear()
        for claim in self._complete_ones:
            self._take_unmarked(claim)

    def _take_unmarked(self, claim: _Claim) -> None:
        tape = self._tapes.get(claim.expected.file)
        if tape is not None:
            while len(claim.found) < max(claim.expected.count, 1) and self._take(claim, tape, set()):
                pass

    def _take_marked(self, claim: _Claim, tape: _Tape, lower: int) -> None:
        twins = [
            twin
            for twin in self._claims[claim.trace.request_id]
            if (twin.expected.file, twin.expected.text) == (claim.expected.file, claim.expected.text)
        ]
        for offset, length in claim.matches(tape, lower, tape.end):
            if not any(offset in twin.found for twin in twins):
                lacking = (twin for twin in twins if len(twin.found) < twin.expected.count)
                self._give(next(lacking, claim), tape, offset, length)

    def _take(self, claim: _Claim, tape: _Tape, tried: set[int]) -> bool:
        """Find a write for ``claim``, if need be by finding another one for the claim that holds it."""
        matches = claim.matches(tape, claim.lower, claim.expected.size or 0)
        certain = len(matches) <= claim.expected.count
        for offset, length in matches if self.from_front else reversed(matches):
            if offset in tried or offset in claim.found:
                continue
            tried.add(offset)
            place = claim.expected.file, offset
            if place in self._taken:
                holder = self._taken[place]
                if holder is None or not self._take(holder, tape, tried):
                    continue
                holder.found.remove(offset)
                holder.expected.writes = [write for write in holder.expected.writes if write.offset != offset]
            self._taken[place] = claim
            others = () if certain else ((at, at + size) for at, size in matches if at != offset)
            self._give(claim, tape, offset, length, others)
            return True
        return False

    @staticmethod
    def _give(claim: _Claim, tape: _Tape, offset: int, length: int, others: Iterable[tuple[int, int]] = ()) -> None:
        claim.found.add(offset)
        text = bytes(tape.data[offset - tape.start : offset - tape.start + length]).decode("utf-8", "replace")
        write = Write(claim.expected.file, text, tape.seen_ns(offset + length), offset, length, tuple(others))
        claim.expected.writes.append(write)

    def _forget(self, path: str, tape: _Tape) -> None:
        """Keep what a claim without a mark may still ask for, and as much as a text may span."""
        wanted = (
            claim.lower
            for claims in self._claims.values()
            for claim in claims
            if claim.expected.file == path and not claim.expected.marked
        )
        tape.forget(min([tape.end - self._reach, *wanted]))
        self._taken = {
            place: holder for place, holder in self._taken.items() if place[0] != path or place[1] >= tape.start
        }
