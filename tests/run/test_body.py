"""Keeping and decoding response bodies."""

import gzip
import random
import zlib

import pytest

from fastbg.run.body import LIMIT, Body, BodyError

TEXT = b"what a server has to say " * 100


def collected(coding: str, data: bytes, piece: int) -> Body:
    body = Body(coding)
    for start in range(0, len(data), piece):
        body.add(data[start : start + piece])
    body.end()
    return body


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("piece", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        (" GZIP", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
    ],
    ids=["none", "identity", "gzip", "GZIP", "deflate"],
)
def test_body_is_kept_whatever_its_coding_and_its_pieces(coding: str, data: bytes, piece: int) -> None:
    body = collected(coding, data, piece)
    assert (body.kept, body.cut, body.length) == (TEXT, False, len(data))


def test_deflate_without_a_header_is_understood() -> None:
    assert collected("deflate", raw_deflate(TEXT), 100).kept == TEXT


def test_body_in_an_unknown_coding_is_kept_as_it_came() -> None:
    assert collected("br", b"\x0b\x02\x80", 1).kept == b"\x0b\x02\x80"


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_no_body_is_a_whole_one(coding: str) -> None:
    body = collected(coding, b"", 1)
    assert (body.kept, body.cut, body.length) == (b"", False, 0)


@pytest.mark.parametrize("more", [0, 1, 10**6])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_what_is_beyond_the_limit_is_counted_and_not_kept(coding: str, more: int) -> None:
    text = random.Random(1).randbytes(LIMIT) + bytes(more)
    data = gzip.compress(text) if coding else text
    body = collected(coding, data, 1000)
    assert (body.kept, body.cut, body.length) == (text[:LIMIT], more > 0, len(data))


def test_a_bomb_does_not_go_off() -> None:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    body = Body("gzip")
    body.add(bomb)
    assert len(bomb) < 2**17
    assert len(body._kept) == LIMIT + 1  # all decoded bytes, not only the public ones
    assert body.cut


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("data", "why"),
    [(b"hello", "is no"), (TEXT, "is no"), (gzip.compress(TEXT)[:-12], "ends in the middle")],
    ids=["short", "long", "cut"],
)
def test_broken_data_are_told(coding: str, data: bytes, why: str) -> None:
    with pytest.raises(BodyError, match=f"the body {why}.* {coding}"):
        collected(coding, data, 10**6)
