"""Assigns the texts in followed files to the requests that wrote them. Pure: the caller passes the appended bytes.

A text that contains the id of a request, also as a UUID, belongs to that request, wherever it is. A text without an id
(the example's dependency writes the same line for every request) may be the write of another request, or of a second
demo in the same folder. It counts only between the file's size when the client sent the request and its size when the
server had finished the request. Each such text is assigned to one request, together with the equal texts that may be
meant.

A text that a follower does not see appended may still be in the file, which somebody has overwritten or changed in
place. `found_again` finds it there.
"""

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakValueDictionary

from fastbg.events import Appended
from fastbg.evidence.marked_text import MarkedText
from fastbg.evidence.text_places import TextPlaces, overlaps_itself
from fastbg.evidence.trace import ExpectedWrite, Trace, Write
from fastbg.recorder.request_ids import id_of, in_both_forms

MAX_MATCH_BYTES = 4096  # bytes: longest match of a pattern that is found across reads
MIN_KEPT_BYTES = 2**20  # of a file, before unnecessary bytes are discarded
MAX_BY_LAST = 64  # texts without an id that are assigned by the last match: each of them may move all others

Place = tuple[str, int]
IsNew = Callable[[ExpectedWrite, int, int], bool]
_Previous = dict[Place, tuple[Place | None, TextPlaces]]  # the place of the claim that may move to this one


@dataclass(slots=True)
class _FileBuffer:
    """The followed bytes of one file.

    ``start``: offset of the first byte in ``data``. ``reads``: end of each read, when the size was seen, and when the
    bytes had been read. ``places``: of each text without an id that a claim has asked for.
    """

    start: int = 0
    data: bytearray = field(default_factory=bytearray)
    reads: deque[tuple[int, int, int]] = field(default_factory=deque)
    limit: int = MIN_KEPT_BYTES
    places: WeakValueDictionary[str | int, TextPlaces] = field(default_factory=WeakValueDictionary)

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def append(self, item: Appended) -> None:
        if item.offset != self.end:
            self.start = item.offset
            self.data.clear()
            self.reads.clear()
            self.places.clear()
        self.data += item.data
        self.reads.append((self.end, item.t_ns, item.read_ns))

    def times(self, end: int) -> tuple[int, int]:
        """Return when the byte before ``end`` was seen by the size of the file, and when it had been read."""
        _, seen_ns, read_ns = self.reads[bisect_left(self.reads, (end, 0, 0))]
        return seen_ns, read_ns

    def discard(self, before: int) -> None:
        del self.data[: max(before - self.start, 0)]
        self.start = max(before, self.start)
        while self.reads and self.reads[0][0] <= self.start:
            self.reads.popleft()
        for places in self.places.values():
            places.discard(self.start)
        self.limit = max(MIN_KEPT_BYTES, 2 * len(self.data))


class _Claim:
    """One expected write of a request. ``lower``: size of the file when the request was sent."""

    def __init__(self, trace: Trace, expected: ExpectedWrite, lower: int) -> None:
        self.trace = trace
        self.expected = expected
        self.lower = lower
        self.found: set[int] = set()  # offsets
        self.restarted = False  # the file begins again, maybe with texts that were already found
        self._places: TextPlaces | None = None  # keeps them in the buffer

    @property
    def max_bytes(self) -> int:
        return MAX_MATCH_BYTES if self.expected.pattern else self._text.max_bytes

    @cached_property
    def _text(self) -> MarkedText:
        return MarkedText(self.expected.text, self.trace.request_id)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(in_both_forms(self.expected.text, self.trace.request_id), re.MULTILINE)

    def places(self, buffer: _FileBuffer) -> tuple[TextPlaces, int, int]:
        """Return the places of a text without an id, and the first and the last offset at which it may begin."""
        lower, upper, text = max(self.lower, buffer.start), self.expected.size or 0, self.expected.text.encode()
        is_own = self.expected.pattern or overlaps_itself(text)  # what is found depends on where the search begins
        key = id(self) if is_own else self.expected.text
        places = buffer.places.get(key)
        if places is None:
            places = TextPlaces(dict(self.matches(buffer, lower, upper)) if is_own else text)
            buffer.places[key] = places
        self._places = places
        if is_own:
            return places, lower, upper
        places.search(buffer.data, buffer.start, lower)
        return places, lower, upper - len(text)

    def matches(self, buffer: _FileBuffer, lower: int, upper: int) -> list[tuple[int, int]]:
        """Return offset and length of each match between ``lower`` and ``upper``, ascending."""
        first, last = max(lower - buffer.start, 0), max(upper - buffer.start, 0)
        if not self.expected.pattern:
            return [(buffer.start + at, end - at) for at, end in self._text.find_in(buffer.data, first, last)]
        found = []
        text = buffer.data[first:last].decode("utf-8", "surrogateescape")
        for match in self._pattern.finditer(text):
            if match[0]:
                before, inside = (
                    len(part.encode("utf-8", "surrogateescape")) for part in (text[: match.start()], match[0])
                )
                found.append((buffer.start + first + before, inside))
        return found


class Attribution:
    """Assigns the texts in followed files to requests. ``id_pattern``: a pattern that matches every request id.

    ``first_match``: whether a text without an id is the first free match in its window instead of the last.
    """

    def __init__(self, id_pattern: str) -> None:
        self._id_pattern = re.compile(id_pattern.encode())
        self._buffers: dict[str, _FileBuffer] = {}
        self._claims: dict[str, list[_Claim]] = {}  # by request id
        self._unread: dict[str, list[_Claim]] = {}  # by file: the server has finished, the follower has not
        self._taken: dict[Place, _Claim | None] = {}  # texts without an id; None: of a removed request
        self._complete_claims: dict[_Claim, None] = {}  # without an id, in the order in which the server finished them
        self._last: dict[str, tuple[str, Write]] = {}  # by file: the text that was found last, and its request's id
        self.max_bytes = 0  # of an expected text
        self.first_match = False

    def sent(self, trace: Trace, sizes: dict[str, int]) -> None:
        """Expect the writes of ``trace``, which is being sent, after these ``sizes`` (path to bytes)."""
        texts = [expected for expected in trace.expected.writes if expected.change is None]
        claims = [_Claim(trace, expected, sizes.get(expected.file, 0)) for expected in texts]
        self._claims[trace.request_id] = claims
        self.max_bytes = max([self.max_bytes, *(claim.max_bytes for claim in claims)])

    def finished(self, trace: Trace, sizes: dict[str, int]) -> None:
        """Expect the writes without an id before these ``sizes``: the server has finished ``trace``."""
        for claim in self._claims.get(trace.request_id, []):
            claim.expected.size = sizes.get(claim.expected.file)
            if claim.expected.size is not None and not self._complete(claim):
                self._unread.setdefault(claim.expected.file, []).append(claim)

    def remove(self, trace: Trace) -> None:
        """Remove ``trace``; its texts stay assigned."""
        for claim in self._claims.pop(trace.request_id, []):
            unread = self._unread.get(claim.expected.file, [])
            if claim in unread:
                unread.remove(claim)
            if not claim.expected.has_id:
                self._complete_claims.pop(claim, None)
                self._taken |= {(claim.expected.file, offset): None for offset in claim.found}

    def appended(self, item: Appended) -> list[Trace]:
        """Add the bytes that a follower saw; return the requests with new evidence."""
        path = str(item.path)
        buffer = self._buffers.setdefault(path, _FileBuffer())
        buffer.append(item)
        start = item.offset - self.max_bytes  # a text may span two reads
        changed = {}
        for claim in self._claims_with_id(path, buffer, start):
            self._take_with_id(claim, buffer, max(start, claim.lower))
            changed[claim.trace.request_id] = claim.trace
        unread = self._unread.get(path, [])
        for claim in [claim for claim in unread if self._complete(claim)]:
            unread.remove(claim)
            changed[claim.trace.request_id] = claim.trace
        if len(buffer.data) > buffer.limit:
            self._discard(path, buffer)
        return list(changed.values())

    def restarted(self, path: str) -> None:
        """Start again at offset 0: ``path`` was truncated or replaced."""
        self._buffers[path] = _FileBuffer()
        self._taken = {place: holder for place, holder in self._taken.items() if place[0] != path}
        for claims in self._claims.values():
            for claim in claims:
                if claim.expected.file == path:
                    claim.restarted = True
                    if not claim.expected.is_met or not claim.found:
                        claim.lower = 0

    def found_again(self, trace: Trace, item: Appended, is_new: IsNew) -> list[Write]:
        """Search the missing texts of ``trace`` in bytes that were read again; return the new writes.

        ``is_new``: whether an expected text without an id, found at this offset with this length, was written after
        the request was sent.
        """
        path, buffer, writes = str(item.path), _FileBuffer(item.offset), []
        buffer.append(item)
        for claim in self._claims.get(trace.request_id, []):
            expected = claim.expected
            if expected.file != path:
                continue
            for offset, length in claim.matches(buffer, buffer.start, buffer.end):
                if claim.expected.is_met:
                    break
                if any(offset in other.found for other in self._same_text(claim)):
                    continue
                if not expected.has_id:
                    if not is_new(expected, offset, length):
                        continue
                    self._taken[path, offset] = claim
                    self._complete_claims.pop(claim, None)
                writes.append(self._assign(claim, buffer, offset, length))
        return writes

    def shrunk(self, trace: Trace, sizes: Mapping[str, int]) -> list[str]:
        """Return the files that were longer before somebody read these ``sizes``: they must have been rewritten."""
        claims = self._claims.get(trace.request_id, [])
        longest = {claim.expected.file: max(claim.lower, self.position(claim.expected.file, trace)) for claim in claims}
        return [path for path, size in longest.items() if sizes.get(path, 0) < size]

    def stop_reading(self, trace: Trace, path: str) -> None:
        """Wait no longer until ``path``, which was searched again, is read up to its size at the end of ``trace``."""
        for claim in [claim for claim in self._unread.get(path, []) if claim.trace is trace]:
            self._unread[path].remove(claim)
            claim.expected.complete = True

    def last_of_another(self, trace: Trace, path: str) -> Write | None:
        """Return the last text found in ``path``, if it was written for another request after this one was sent."""
        request_id, write = self._last.get(path, (trace.request_id, None))
        sent_ns = trace.time("request_sent")
        if write is None or request_id == trace.request_id or sent_ns is None or write.t_ns < sent_ns:
            return None
        return write

    def position(self, path: str, trace: Trace) -> int:
        """Return the offset up to which the follower has read ``path`` since ``trace`` was sent."""
        lower = [claim.lower for claim in self._claims.get(trace.request_id, []) if claim.expected.file == path]
        buffer = self._buffers.get(path)
        return buffer.end if buffer is not None else min(lower, default=0)

    def _claims_with_id(self, path: str, buffer: _FileBuffer, start: int) -> Iterator[_Claim]:
        """Yield the claims of every request whose id is in the file after ``start``."""
        ids = {
            id_of(match[0].decode()) for match in self._id_pattern.finditer(buffer.data, max(start - buffer.start, 0))
        }
        for request_id in ids:
            for claim in self._claims.get(request_id, []):
                if claim.expected.has_id and claim.expected.file == path:
                    yield claim

    def _complete(self, claim: _Claim) -> bool:
        """Return whether the file was read up to the claim's size; if so, search texts without an id."""
        expected, size = claim.expected, claim.expected.size
        buffer = self._buffers.get(expected.file)
        if size is None or (size and size > claim.lower and (buffer is None or buffer.end < size)):
            return False
        expected.complete = True
        if not expected.has_id:
            self._complete_claims[claim] = None
            if not self.first_match and len(self._complete_claims) > MAX_BY_LAST:
                self.use_first_match()
            else:
                self._take_without_id(claim)
        return True

    def use_first_match(self) -> None:
        """Assign texts without an id by the first match from now on, and assign those of open requests again.

        The last match in the window is the most likely one, because a write is usually the last step of a task. But it
        may be the only match of another request, which is known only when that request ends. The first match is always
        safe if requests are served in the order in which they end: of all matches in the window it is in the fewest of
        the later windows.
        """
        self.first_match = True
        for claim in self._complete_claims:
            for offset in claim.found:
                self._taken.pop((claim.expected.file, offset), None)
            claim.found.clear()
            claim.expected.writes.clear()
        for buffer in self._buffers.values():
            buffer.places.clear()
        for claim in self._complete_claims:
            self._take_without_id(claim)

    def _take_without_id(self, claim: _Claim) -> None:
        buffer, file = self._buffers.get(claim.expected.file), claim.expected.file
        if buffer is None:
            return
        count = max(claim.expected.count, 1)
        places, lower, upper = claim.places(buffer)
        for offset in places.free(lower, upper) if self.first_match else ():
            if len(claim.found) >= count:
                return
            places.take(offset)
            if (file, offset) not in self._taken:  # by a request that expects another text there
                self._take(claim, buffer, offset)
        for offset in self._in_order(places.movable(lower, upper)):
            if len(claim.found) >= count:
                return
            if offset not in claim.found and self._make_free(places, (file, offset), buffer):
                self._take(claim, buffer, offset)

    def _in_order(self, offsets: list[int]) -> Iterable[int]:
        return offsets if self.first_match else reversed(offsets)

    def _take_with_id(self, claim: _Claim, buffer: _FileBuffer, lower: int) -> None:
        same_text = self._same_text(claim)
        for offset, length in claim.matches(buffer, lower, buffer.end):
            if not any(offset in other.found for other in same_text):
                incomplete = next((other for other in same_text if not other.expected.is_met), None)
                if incomplete is not None or not (claim.restarted and claim.found):
                    self._assign(incomplete or claim, buffer, offset, length)

    def _same_text(self, claim: _Claim) -> list[_Claim]:
        """Return the claims of the same request with the same text in the same file."""
        return [
            other
            for other in self._claims[claim.trace.request_id]
            if (other.expected.file, other.expected.text) == (claim.expected.file, claim.expected.text)
        ]

    def _make_free(self, places: TextPlaces, wanted: Place, buffer: _FileBuffer) -> bool:
        """Return whether no claim has the text at ``wanted``. If one has it, try to find a different one for it.

        This may move more claims. If it fails, then none of the claims that were asked can ever move again.
        """
        if wanted not in self._taken:
            return True
        previous: _Previous = {wanted: (None, places)}
        waiting = deque(previous)
        while waiting:
            place = waiting.popleft()
            holder = self._taken[place]
            if holder is None:
                continue
            places, lower, upper = holder.places(buffer)
            for offset in self._in_order(places.movable(lower, upper)):
                other = place[0], offset
                if other not in previous and offset not in holder.found:
                    previous[other] = place, places
                    if other not in self._taken:
                        self._move(previous, other, buffer)
                        return True
                    waiting.append(other)
        for (_, offset), (_, places) in previous.items():
            places.fix(offset)
        return False

    def _move(self, previous: _Previous, free: Place, buffer: _FileBuffer) -> None:
        """Give each place to the claim that has the previous one, so that the first place becomes free."""
        while (place := previous[free][0]) is not None:
            holder = self._taken.pop(place)
            if holder is not None:
                holder.found.remove(place[1])
                holder.expected.writes = [write for write in holder.expected.writes if write.offset != place[1]]
                self._take(holder, buffer, free[1])
            free = place

    def _take(self, claim: _Claim, buffer: _FileBuffer, offset: int) -> None:
        """Assign the text without an id at ``offset``, which is free. Its alternatives are all others in its window."""
        places, lower, upper = claim.places(buffer)
        places.take(offset)
        self._taken[claim.expected.file, offset] = claim
        count, *ends = places.ends(lower, upper)
        others = [at for at in dict.fromkeys(ends) if at != offset and count > claim.expected.count]
        self._assign(claim, buffer, offset, places.length(offset), [(at, at + places.length(at)) for at in others])

    def _assign(
        self, claim: _Claim, buffer: _FileBuffer, offset: int, length: int, others: Iterable[tuple[int, int]] = ()
    ) -> Write:
        claim.found.add(offset)
        text = bytes(buffer.data[offset - buffer.start : offset - buffer.start + length]).decode("utf-8", "replace")
        seen_ns, read_ns = buffer.times(offset + length)
        write = Write(claim.expected.file, text, seen_ns, offset, length, tuple(others), read_ns=read_ns)
        claim.expected.writes.append(write)
        self._last[claim.expected.file] = claim.trace.request_id, write
        return write

    def _discard(self, path: str, buffer: _FileBuffer) -> None:
        """Discard the bytes that no claim without an id and no text across reads needs."""
        needed = (
            claim.lower
            for claims in self._claims.values()
            for claim in claims
            if claim.expected.file == path and not claim.expected.has_id
        )
        buffer.discard(min([buffer.end - self.max_bytes, *needed]))
        self._taken = {
            place: holder for place, holder in self._taken.items() if place[0] != path or place[1] >= buffer.start
        }
