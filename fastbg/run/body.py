"""Keeps the beginning of a response's body, whatever a server sends. Pure.

No more than `LIMIT` bytes are kept, and no more is made of what came in a content coding: a few kilobytes of gzip may
stand for gigabytes. The rest is counted only.
"""

import zlib

LIMIT = 64 * 1024  # bytes
CODINGS = ("gzip", "deflate")  # RFC 9110, 8.4.1

_ANY_HEADER = zlib.MAX_WBITS | 32
_NO_HEADER = -zlib.MAX_WBITS


class BodyError(Exception):
    """A body is not in the content coding that its header names."""


class Body:
    """Collects a body in the content coding ``coding``; one that is not of `CODINGS` is kept as it came.

    ``length``: bytes that came.
    """

    def __init__(self, coding: str) -> None:
        self.length = 0
        self._coding = coding.strip().lower()
        self._decoder = zlib.decompressobj(_ANY_HEADER) if self._coding in CODINGS else None
        self._found = bytearray()  # one byte more than is kept tells that there is more

    @property
    def kept(self) -> bytes:
        """The first `LIMIT` bytes."""
        return bytes(self._found[:LIMIT])

    @property
    def cut(self) -> bool:
        """Whether there was more."""
        return len(self._found) > LIMIT

    def add(self, data: bytes) -> None:
        """Take what came next. Raises `BodyError`."""
        self.length += len(data)
        room = LIMIT + 1 - len(self._found)
        if room and data:
            self._found += data[:room] if self._decoder is None else self._decode(self._decoder, data, room)

    def end(self) -> None:
        """Nothing more comes. Raises `BodyError` where something is lacking."""
        if self.length and not self.cut and self._decoder is not None and not self._decoder.eof:
            raise BodyError(f"the body ends in the middle of its {self._coding} data")

    def _decode(self, decoder: "zlib._Decompress", data: bytes, room: int) -> bytes:
        try:
            return decoder.decompress(data, room)
        except zlib.error as error:
            if self._coding == "deflate" and self.length == len(data):  # some servers leave the header away
                self._coding, self._decoder = "raw deflate", zlib.decompressobj(_NO_HEADER)
                return self._decode(self._decoder, data, room)
            raise BodyError(f"the body is no {self._coding}: {error}") from None
