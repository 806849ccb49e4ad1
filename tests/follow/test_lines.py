"""Decoding bytes to lines, and the last lines of a file."""

import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastbg.events import Appended
from fastbg.follow import lines as lines_module
from fastbg.follow.lines import BLOCK, LINE_LIMIT, LineDecoder, Piece, last_lines, last_lines_of, windows

Reads = list[int]


def pieces(*parts: bytes) -> list[Piece]:
    decoder, offset, found = LineDecoder(), 0, []
    for part in parts:
        found += decoder.feed(part, offset)
        offset += len(part)
    left = decoder.finish(offset)
    return [*found, left] if left else found


def whole(found: list[Piece]) -> list[tuple[str, int]]:
    """Join the pieces to lines, as (text, cut)."""
    lines: list[tuple[str, int]] = []
    for piece in found:
        text, cut = lines.pop() if piece.continued else ("", 0)
        lines.append((text + piece.text, cut + piece.cut))
    return lines


def test_line_is_one_complete_piece() -> None:
    assert LineDecoder().feed(b"a") == [Piece("a", 0, False, False)]
    assert pieces(b"a\nb\n") == [Piece("a", 0, False, True), Piece("b", 2, False, True)]


def test_start_of_a_line_is_returned_immediately() -> None:
    assert pieces(b"\n## F", b"astAPI", b"\n") == [
        Piece("", 0, False, True),
        Piece("## F", 1, False, False),
        Piece("astAPI", 5, True, False),
        Piece("", 11, True, True),
    ]


def test_next_file_begins_a_line_of_its_own() -> None:
    decoder = LineDecoder()
    decoder.feed(b"a\r")
    assert decoder.finish(2) == Piece("\r", 1, True, False)
    assert decoder.feed(b"b") == [Piece("b", 0, False, False)]


def test_character_split_across_two_reads_is_whole() -> None:
    data = "框架".encode()
    assert pieces(data[:4], data[4:]) == [Piece("框", 0, False, False), Piece("架", 3, True, False)]


def test_invalid_utf8_becomes_replacement_characters() -> None:
    assert whole(pieces(b"a\xff\xfeb\n\xe6\n", b"\xe6\xa1")) == [("a��b", 0), ("�", 0), ("�", 0)]


@pytest.mark.parametrize("parts", [(b"a\r\nb\r\n",), (b"a\r", b"\nb", b"\r", b"\n")])
def test_split_crlf_ends_a_line(parts: tuple[bytes, ...]) -> None:
    assert whole(pieces(*parts)) == [("a", 0), ("b", 0)]


def test_lone_carriage_return_belongs_to_the_line() -> None:
    assert pieces(b"a\r") == [Piece("a", 0, False, False), Piece("\r", 1, True, False)]
    assert whole(pieces(b"a\r", b"b", b"c\n")) == [("a\rbc", 0)]
    assert whole(pieces(b"a\r", b"b\r\r\n", b"c\r")) == [("a\rb\r", 0), ("c\r", 0)]


def test_long_line_is_cut_and_the_rest_is_counted() -> None:
    text = "框" * (LINE_LIMIT // 3 + 10)  # a character lies across the limit
    assert whole(pieces(text.encode() + b"\r\nnext\n")) == [
        (text[: LINE_LIMIT // 3], len(text.encode()) - LINE_LIMIT // 3 * 3),
        ("next", 0),
    ]


def test_character_across_the_limit_is_cut_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "LINE_LIMIT", 7)
    text = "框框框".encode()
    assert pieces(text[:7], text[7:], b"xx", b"\nab") == [
        Piece("框框", 0, False, False),
        Piece("", 11, True, True, cut=5),
        Piece("ab", 12, False, False),
    ]
    assert whole(pieces(b"1234567\n1234567\r\n12345678\n")) == [("1234567", 0), ("1234567", 0), ("1234567", 1)]
    assert pieces(text) == [Piece("框框", 0, False, False), Piece("", 9, True, False, cut=3)]


@pytest.mark.parametrize(("written_ns", "last_ns"), [(15, 15), (None, 7)])
def test_only_the_last_line_of_a_read_has_the_modification_time(written_ns: int | None, last_ns: int) -> None:
    item = Appended(20, Path("log.txt"), (1, 1), 100, b"a\nbc\nd", written_ns)
    found = [*windows(LineDecoder().feed(item.data, item.offset), item, 7)]
    assert [(piece.text, end, earliest_ns) for piece, end, earliest_ns in found] == [
        ("a", 102, 7),
        ("bc", 105, 7),
        ("d", 106, last_ns),
    ]
    assert [*windows([], item, 7)] == []


characters = st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "框".encode(), "🚀".encode(), b"\xff", b"\xe6", b"\xa1"])
contents = st.lists(st.one_of(characters, st.binary(max_size=3)), max_size=40).map(b"".join)


@given(data=contents, cuts=st.lists(st.integers(0, 200), max_size=12), limit=st.sampled_from([7, LINE_LIMIT]))
def test_any_split_gives_the_same_lines(data: bytes, cuts: list[int], limit: int) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[begin:end] for begin, end in pairwise(places)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "LINE_LIMIT", limit)
        assert whole(pieces(*parts)) == whole(pieces(data))


@given(data=contents)
def test_lines_are_equal_to_pythons_decoding(data: bytes) -> None:
    expected = [line.removesuffix(b"\r").decode(errors="replace") for line in data.split(b"\n")[:-1]]
    complete = [text for text, _ in whole(pieces(data))][: len(expected)]
    assert complete == expected


@given(data=contents)
def test_offset_is_the_position_of_the_piece_in_the_file(data: bytes) -> None:
    for piece in pieces(*(data[at : at + 1] for at in range(len(data)))):
        begin = data[piece.offset :]
        if piece.text.isprintable() and "�" not in piece.text:
            assert begin.startswith(piece.text.encode())


def test_line_of_100_megabytes_needs_no_memory() -> None:
    decoder, block, cut = LineDecoder(), b"x" * BLOCK, 0
    tracemalloc.start()
    for _ in range(100 * 2**20 // BLOCK):
        decoder.feed(block)
    (end,) = decoder.feed(b"\n")
    cut, (_, peak) = end.cut, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cut == 100 * 2**20 - LINE_LIMIT
    assert peak < 2**20


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def last(path: Path, count: int) -> tuple[int | None, bytes]:
    with opened(path) as descriptor:
        found = list(last_lines(descriptor, count, path.stat().st_size))
    return (found[0][0] if found else None), b"".join(data for _, data in found)


@pytest.mark.parametrize(
    ("content", "count", "offset"),
    [
        (b"", 10, None),
        (b"a\nb\nc\n", 0, None),
        (b"a\nb\nc\n", 2, 2),
        (b"a\nb\nc", 2, 2),
        (b"a\nb\nc\n", 3, 0),
        (b"a\nb\nc\n", 9, 0),
        (b"\n\n\n", 2, 1),
        (b"a", 1, 0),
    ],
)
def test_last_lines_begin_at_the_right_offset(tmp_path: Path, content: bytes, count: int, offset: int | None) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(content)
    assert last(path, count) == (offset, b"" if offset is None else content[offset:])


@example(content=b"\nabc\n", count=1)
@example(content=b"1\n2\n3\n4\n5\n", count=3)  # the wanted line ends are in two blocks
@given(content=st.lists(st.sampled_from([b"a", b"\n", b"bb"]), max_size=60).map(b"".join), count=st.integers(1, 12))
def test_last_lines_are_equal_to_splitlines_with_small_blocks(content: bytes, count: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr(lines_module, "BLOCK", 4)
        file.write(content)
        file.flush()
        found = b"".join(data for _, data in last_lines(file.fileno(), count, len(content)))
    assert found == b"".join(content.splitlines(keepends=True)[-count:])


@pytest.fixture
def count_reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads: Reads = []
    pread: Callable[[int, int, int], bytes] = os.pread

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        reads.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    return reads


def test_last_lines_of_a_gigabyte_read_its_end_only(tmp_path: Path, count_reads: Reads) -> None:
    path = tmp_path / "big.log"  # sparse: a hole of 1 GB, then some lines
    tail = b"".join(b"line %d\n" % n for n in range(12))
    with path.open("wb") as file:
        file.seek(2**30)
        file.write(b"\n" + tail)
    tracemalloc.start()
    _, found = last(path, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == b"".join(b"line %d\n" % n for n in range(2, 12))
    assert sum(count_reads) <= 2 * BLOCK
    assert peak < 2**20


def test_last_lines_that_are_long_come_in_small_pieces(tmp_path: Path, count_reads: Reads) -> None:
    path = tmp_path / "long.log"
    path.write_bytes(b"x" * (3 * BLOCK) + b"\n")
    with opened(path) as descriptor:
        assert max(len(data) for _, data in last_lines(descriptor, 1, path.stat().st_size)) <= BLOCK


@pytest.mark.parametrize(
    ("count", "contents", "read", "found"),
    [
        (3, [b"5\n6\n", b"3\n4\n", b"1\n2\n"], 2, [(2, b"4\n"), (0, b"5\n6\n")]),
        (2, [b"5\n6\n", b"3\n4\n"], 1, [(0, b"5\n6\n")]),
        (2, [b"5\n6", b"3\n4\n"], 1, [(0, b"5\n6")]),
        (3, [b"5\n6", b"3\n4\n"], 2, [(2, b"4\n"), (0, b"5\n6")]),
        (2, [b"3\n", b"1\n2"], 2, [(2, b"2"), (3, b"\n"), (0, b"3\n")]),
        (3, [b"3\n", b"", b"1\n2"], 3, [(0, b"1\n2"), (3, b"\n"), (0, b"3\n")]),
        (1, [b"", b"1\n2\n"], 2, [(2, b"2\n")]),
        (9, [b"2\n", b"1\n"], 2, [(0, b"1\n"), (0, b"2\n")]),
    ],
)
def test_last_lines_of_several_files_are_in_order(
    tmp_path: Path, count: int, contents: list[bytes], read: int, found: list[tuple[int, bytes]]
) -> None:
    """Only the files that have some of the lines are opened."""
    taken: list[int] = []
    with ExitStack() as stack:

        def newest_first() -> Iterator[tuple[int, int]]:
            for number, content in enumerate(contents):
                path = tmp_path / str(number)
                path.write_bytes(content + b"later\n")
                taken.append(number)
                yield stack.enter_context(opened(path)), len(content)

        assert list(last_lines_of(newest_first(), count)) == found
    assert len(taken) == read
