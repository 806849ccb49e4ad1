"""The lines that were seen in followed files during a run, and those of them that no expectation describes. Pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastbg.events import Appended
from fastbg.evidence.results import OtherWrite, RequestResult
from fastbg.follow.lines import LineDecoder, windows
from fastbg.recorder.request_ids import ids_in

MAX_LINES = 1000  # the latest ones


@dataclass(frozen=True, slots=True)
class SeenLine:
    """A line, or a part of one, from ``offset`` to ``end``. It was written between ``earliest_ns`` and ``t_ns``."""

    file: str
    text: str
    offset: int
    end: int
    earliest_ns: int
    t_ns: int


class SeenLines:
    """The latest lines in followed files."""

    def __init__(self) -> None:
        self._lines: deque[SeenLine] = deque(maxlen=MAX_LINES)
        self._decoders: dict[Path, LineDecoder] = {}
        self._seen: dict[Path, int] = {}  # when bytes of a file were last seen

    def add(self, item: Appended) -> None:
        before_ns = self._seen.get(item.path, 0)
        self._seen[item.path] = item.t_ns
        pieces = self._decoders.setdefault(item.path, LineDecoder()).feed(item.data, item.offset)
        for piece, end, earliest_ns in windows(pieces, item, before_ns):
            if piece.text.strip():
                self._lines.append(SeenLine(str(item.path), piece.text, piece.offset, end, earliest_ns, item.t_ns))

    def restarted(self, path: Path) -> None:
        """Forget the lines of ``path``: it was truncated or replaced, and its offsets have a new meaning."""
        self._decoders.pop(path, None)
        self._lines = deque((line for line in self._lines if line.file != str(path)), maxlen=MAX_LINES)

    def others(self, requests: Sequence[RequestResult], *, journal: bool) -> tuple[OtherWrite, ...]:
        """Return the lines that are not an expected write of ``requests``.

        ``journal``: whether all requests that may have written them are in ``requests``, with their events.
        """
        expected: dict[str, list[tuple[int, int]]] = {}
        for request in requests:
            for write in request.trace.writes:
                expected.setdefault(write.file, []).append((write.offset, write.offset + write.length))
        for places in expected.values():
            places.sort()
        lines = [line for line in tuple(self._lines) if not _is_in(line, expected.get(line.file, ()))]
        return tuple(
            OtherWrite(line.file, line.text, line.t_ns, _writer(line, requests) if journal else None) for line in lines
        )


def _is_in(line: SeenLine, places: Sequence[tuple[int, int]]) -> bool:
    """Return whether ``line`` overlaps one of the ascending ``places``."""
    at = bisect_left(places, (line.end, 0))
    return at > 0 and places[at - 1][1] > line.offset


def _writer(line: SeenLine, requests: Sequence[RequestResult]) -> RequestResult | None:
    ids = set(ids_in(line.text))
    named = [each for each in requests if each.trace.request_id in ids]
    if len(named) == 1:
        return named[0]
    active = [each for each in requests if each.trace.was_active(line.earliest_ns, line.t_ns)]
    return active[0] if len(active) == 1 else None
