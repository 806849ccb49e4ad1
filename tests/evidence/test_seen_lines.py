"""Lines in followed files that no expectation describes."""

from pathlib import Path

from fastbg.events import Appended
from fastbg.evidence.results import RequestResult
from fastbg.evidence.seen_lines import MAX_LINES, SeenLines
from fastbg.evidence.trace import Trace
from tests.support.results import background
from tests.support.traces import LOG, requested

MS = 10**6
NO_SIZE = b"x" * 100 + b"\n"


def appended(t_ms: float, offset: int, data: bytes, *, written_ms: float | None = None) -> Appended:
    written_ns = None if written_ms is None else int(written_ms * MS)
    return Appended(int(t_ms * MS), Path(LOG), (1, 1), offset, data, written_ns)


def others(*items: Appended, requests: tuple[Trace, ...] = (), journal: bool = True) -> list[tuple[str, str | None]]:
    seen = SeenLines()
    for item in items:
        seen.add(item)
    found = seen.others([RequestResult.of(each) for each in requests], journal=journal)
    return [(each.text, each.writer.name if each.writer else None) for each in found]


def test_expected_write_is_no_other_line() -> None:
    made = background()
    (write,) = made.writes
    text = write.text.encode()
    assert write.offset == 100
    item = appended(1502, 0, NO_SIZE[:99] + b"\n" + text)
    assert [line for line, _ in others(item, requests=(made,))] == ["x" * 99]


def test_line_of_the_only_active_request_has_its_name() -> None:
    item = appended(1501, 0, b"debug\n", written_ms=1499)
    assert others(item, requests=(background(),)) == [("debug", "notification")]
    assert others(item, requests=(background(), requested(background(), request_id="r2"))) == [("debug", None)]
    assert others(item, requests=(background(),), journal=False) == [("debug", None)]


def test_bytes_of_an_incomplete_character_are_no_line_yet() -> None:
    assert others(appended(1501, 0, b"\xc3")) == []
    assert others(appended(1501, 0, b"\xc3"), appended(1502, 1, b"\xa4\n")) == [("ä", None)]


def test_line_after_the_last_request_belongs_to_none() -> None:
    item = appended(9900, 0, b"late\n", written_ms=9800)  # the request ended at 9000 ms
    assert others(item, requests=(background(),)) == [("late", None)]


def test_blank_lines_are_not_kept_and_the_number_is_limited() -> None:
    assert others(appended(1, 0, b"\n \n\n")) == []
    found = others(appended(1, 0, b"".join(b"%d\n" % n for n in range(MAX_LINES + 5))))
    assert (len(found), found[-1]) == (MAX_LINES, (str(MAX_LINES + 4), None))


def test_truncated_file_starts_again() -> None:
    seen = SeenLines()
    seen.add(appended(1, 0, b"old\nincomplete"))
    seen.restarted(Path(LOG))
    seen.add(appended(2, 0, b"new\n"))
    assert [each.text for each in seen.others((), journal=True)] == ["new"]


def test_line_with_the_id_of_a_request_belongs_to_it() -> None:
    first, second = (requested(background(), request_id=f"a1b2c3-{n}", name=f"n{n}") for n in (1, 12))
    for text in ("mail a1b2c3-12", "id a1b2c302-0000-4000-8000-000000000012"):
        assert others(appended(1501, 0, f"{text}\n".encode()), requests=(first, second)) == [(text, "n12")]
