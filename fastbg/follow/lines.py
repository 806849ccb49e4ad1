"""Bytes to lines, and the last lines of a file. Pure and synchronous."""

import codecs
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK = 64 * 1024  # bytes that are read at a time, and so what reading costs in memory
LINE_LIMIT = 64 * 1024  # bytes of one line that are shown; the rest is counted


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or a part of one that was written in several goes.

    ``text``: without the line end. ``offset``: of its first byte in the file. ``continued``: the start of
    this line is in an earlier piece. ``complete``: the line ends here. ``cut``: bytes of the line that no
    piece shows, because it is longer than `LINE_LIMIT`; said once, where the line ends.
    """

    text: str
    offset: int
    continued: bool
    complete: bool
    cut: int = 0


class LineDecoder:
    """Turns the bytes of one file, however they are split, into pieces of lines.

    Lines end with LF or CRLF. The text is UTF-8; what is none becomes U+FFFD. The start of a line is given
    out at once; only bytes that mean nothing yet are held back: an unfinished character, a CR that may
    belong to a CRLF. What is kept of a line does not grow with its length.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begin_line()

    def _begin_line(self) -> None:
        self._decoder.reset()
        self._carriage_return = False
        self._shown = 0
        self._cut = 0
        self._continued = False

    def feed(self, data: bytes, offset: int = 0) -> list[Piece]:
        """The pieces that ``data`` completes or adds. ``offset``: where in the file ``data`` begins."""
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
        """What is left of a line that nothing more will come to, if anything. ``offset``: the file's end."""
        begin = offset - self._held()
        text = "\r" * self._carriage_return + self._decoder.decode(b"", final=True)
        left = Piece(text, begin, self._continued, complete=False, cut=self._cut) if text or self._cut else None
        self._begin_line()
        return left

    def _held(self) -> int:
        return len(self._decoder.getstate()[0]) + self._carriage_return

    def _decode(self, part: bytes, *, ended: bool) -> str:
        if self._carriage_return:
            part = b"\r" + part
            self._carriage_return = False
        if part.endswith(b"\r"):
            part = part[:-1]
            self._carriage_return = not ended
        shown = part[: LINE_LIMIT - self._shown]
        self._shown += len(shown)
        self._cut += len(part) - len(shown)
        text = self._decoder.decode(shown, final=ended and not self._cut)
        if self._cut:  # a character that the limit went through is not shown either
            self._cut += len(self._decoder.getstate()[0])
            self._decoder.reset()
        return text


def last_lines(descriptor: int, count: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The last ``count`` lines before the offset ``end`` of an open file, as ``(offset, bytes)`` in order.

    A line without an end counts as a line. The file is searched backwards, and read in pieces of at most
    64 KiB, so that neither its size nor the length of its lines costs memory.
    """
    position = _start_of_last_lines(descriptor, count, end)
    while position < end and (data := os.pread(descriptor, min(BLOCK, end - position), position)):
        yield position, data
        position += len(data)


def last_lines_of(files: Iterable[tuple[int, int]], count: int) -> Iterator[tuple[int, bytes]]:
    """`last_lines` of several files, each as ``(descriptor, end)``, the one with the last lines first."""
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
        if number < len(chosen) and not data.endswith(b"\n"):  # nothing more comes to that line
            yield end, b"\n"


def _start_of_last_lines(descriptor: int, count: int, end: int) -> int:
    if count == 0 or end == 0:
        return end
    wanted = count + (os.pread(descriptor, 1, end - 1) == b"\n")  # line ends from the back
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
