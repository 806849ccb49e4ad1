"""Decodes bytes to lines, and finds the last lines of a file. Synchronous."""

import codecs
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastbg.events import Appended

BLOCK = 64 * 1024  # bytes per read, and so the memory that reading needs
LINE_LIMIT = 64 * 1024  # bytes of a line that are kept; the rest is counted


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or a part of a line that was written in several steps.

    ``text``: without the line end. ``offset``: of its first byte in the file. ``continued``: an earlier piece has the
    start of this line. ``complete``: the line ends here. ``cut``: bytes of the line after `LINE_LIMIT`, which no piece
    contains; set in the last piece of the line.
    """

    text: str
    offset: int
    continued: bool
    complete: bool
    cut: int = 0


class LineDecoder:
    """Decodes the bytes of one file, split at any position, to pieces of lines.

    Lines end with LF or CRLF. The text is UTF-8; invalid bytes become U+FFFD. The start of an incomplete line is
    returned immediately. Only an incomplete character, and a CR that may belong to a CRLF, are kept for the next call.
    The memory does not grow with the length of a line.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begin_line()

    def _begin_line(self) -> None:
        self._carriage_return = False
        self._kept = 0
        self._cut = 0
        self._continued = False

    def feed(self, data: bytes, offset: int = 0) -> list[Piece]:
        """Return the pieces that ``data`` adds. ``offset``: of ``data`` in the file."""
        *lines, rest = data.split(b"\n")
        begin = offset - self._held()
        pieces = []
        for line in lines:
            text = self._decode(line, ended=True)
            pieces.append(Piece(text, begin, self._continued, complete=True, cut=self._cut))
            self._begin_line()
            offset += len(line) + 1
            begin = offset
        if text := self._decode(rest, ended=False):
            pieces.append(Piece(text, begin, self._continued, complete=False))
            self._continued = True
        return pieces

    def finish(self, offset: int = 0) -> Piece | None:
        """Return the rest of the last, incomplete line, if any. ``offset``: the end of the file."""
        begin = offset - self._held()
        text = "\r" * self._carriage_return + self._decoder.decode(b"", final=True)
        rest = Piece(text, begin, self._continued, complete=False, cut=self._cut) if text or self._cut else None
        self._begin_line()
        return rest

    def _held(self) -> int:
        return len(self._decoder.getstate()[0]) + self._carriage_return

    def _decode(self, part: bytes, *, ended: bool) -> str:
        if self._carriage_return:
            part = b"\r" + part
            self._carriage_return = False
        if part.endswith(b"\r"):
            part = part[:-1]
            self._carriage_return = not ended
        kept = part[: LINE_LIMIT - self._kept]
        self._kept += len(kept)
        self._cut += len(part) - len(kept)
        text = self._decoder.decode(kept, final=ended and not self._cut)
        if self._cut:  # a character across the limit is cut, too
            self._cut += len(self._decoder.getstate()[0])
            self._decoder.reset()
        return text


def windows(pieces: list[Piece], item: Appended, before_ns: int) -> Iterator[tuple[Piece, int, int]]:
    """Yield each of the ``pieces`` of ``item``, the offset of its end, and the earliest time of its writing.

    ``before_ns``: when bytes of the file were last seen. The modification time of ``item`` is that of its last byte.
    """
    if not pieces:  # the bytes are a part of a character
        return
    ends = [*(piece.offset for piece in pieces[1:]), item.offset + len(item.data)]
    for piece, end in zip(pieces, ends, strict=True):
        is_last = piece is pieces[-1]
        yield piece, end, item.written_ns if is_last and item.written_ns is not None else before_ns


def last_lines(descriptor: int, count: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the last ``count`` lines before the offset ``end`` of an open file, as ``(offset, bytes)`` in order.

    A line without a line end counts as a line. The file is searched backwards, and read in blocks of at most 64 KiB:
    the memory depends neither on its size nor on the length of its lines.
    """
    position = _start_of_last_lines(descriptor, count, end)
    while position < end and (data := os.pread(descriptor, min(BLOCK, end - position), position)):
        yield position, data
        position += len(data)


def last_lines_of(files: Iterable[tuple[int, int]], count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the `last_lines` of several files, each given as ``(descriptor, end)``, the newest file first."""
    chosen = []
    for descriptor, end in files:
        chosen.append((descriptor, end, count))
        data = b"\n"
        for _, data in last_lines(descriptor, count, end):
            count -= data.count(b"\n")
        count -= not data.endswith(b"\n")
        if count <= 0:
            break
    for number, (descriptor, end, lines) in enumerate(reversed(chosen), 1):
        data = b"\n"
        for offset, data in last_lines(descriptor, lines, end):
            yield offset, data
        if number < len(chosen) and not data.endswith(b"\n"):  # this line stays incomplete
            yield end, b"\n"


def _start_of_last_lines(descriptor: int, count: int, end: int) -> int:
    if count == 0 or end == 0:
        return end
    wanted = count + (os.pread(descriptor, 1, end - 1) == b"\n")  # number of line ends, counted from the end
    position = end
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        block = os.pread(descriptor, size, position)
        found = block.count(b"\n")
        if found < wanted:
            wanted -= found
            continue
        at = len(block)
        for _ in range(wanted):
            at = block.rfind(b"\n", 0, at)
        return position + at + 1
    return 0
