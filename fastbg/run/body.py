"""Keeps the first bytes of a response body and decodes them. Pure.

At most `LIMIT` decoded bytes are kept by default, because a few kilobytes of gzip may decode to gigabytes. The rest is
only counted.
"""

import zlib

from fastbg import strict_json
from fastbg.evidence.trace import ReceivedBody

LIMIT = 64 * 1024  # bytes
CODINGS = ("gzip", "deflate")  # RFC 9110, 8.4.1

_ANY_HEADER = zlib.MAX_WBITS | 32
_NO_HEADER = -zlib.MAX_WBITS


class BodyError(Exception):
    """A body that does not match its Content-Encoding header."""


class Body:
    """A received body in the content coding ``coding``. Codings other than those in `CODINGS` are not decoded.

    ``length``: number of received bytes. ``limit``: number of decoded bytes to keep.
    """

    def __init__(self, coding: str, limit: int = LIMIT) -> None:
        self.length = 0
        self._limit = limit
        self._coding = coding.strip().lower()
        self._decoder = zlib.decompressobj(_ANY_HEADER) if self._coding in CODINGS else None
        self._kept = bytearray()  # up to the limit + 1 bytes: the last one shows that the body is longer

    @property
    def kept(self) -> bytes:
        """The first bytes, up to the limit."""
        return bytes(self._kept[: self._limit])

    @property
    def cut(self) -> bool:
        """Whether the body is longer than the limit."""
        return len(self._kept) > self._limit

    def received(self) -> ReceivedBody:
        """Return the body as text, and as a JSON value if it is one."""
        try:
            value = strict_json.loads(self.kept)
        except ValueError:
            value = None
        return ReceivedBody(self.kept.decode("utf-8", "replace"), value, self.length, self.cut)

    def add(self, data: bytes) -> None:
        """Add received bytes. Raises `BodyError`."""
        self.length += len(data)
        room = self._limit + 1 - len(self._kept)
        if room and data:
            self._kept += data[:room] if self._decoder is None else self._decode(self._decoder, data, room)

    def end(self) -> None:
        """Check that the body is complete. Raises `BodyError`."""
        if self.length and not self.cut and self._decoder is not None and not self._decoder.eof:
            raise BodyError(f"the body ends in the middle of its {self._coding} data")

    def _decode(self, decoder: "zlib._Decompress", data: bytes, room: int) -> bytes:
        try:
            return decoder.decompress(data, room)
        except zlib.error as error:
            if self._coding == "deflate" and self.length == len(data):  # some servers omit the zlib header
                self._coding, self._decoder = "raw deflate", zlib.decompressobj(_NO_HEADER)
                return self._decode(self._decoder, data, room)
            raise BodyError(f"the body is not valid {self._coding} data: {error}") from None
