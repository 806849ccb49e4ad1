"""Attribution of writes to requests."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.events import Appended
from fastbg.evidence.attribution import MAX_BY_LAST, MIN_KEPT_BYTES, Attribution
from fastbg.evidence.trace import ExpectedWrite, Trace
from fastbg.recorder.request_ids import pattern_of_ids
from tests.support.operations import is_linear
from tests.support.traces import LOG, expecting, requested, trace

ID_PATTERN = "r[0-9]+"
OTHER = "/data/other.txt"
NOISE = b"x" * MIN_KEPT_BYTES + b"y"


def request(request_id: str, *writes: ExpectedWrite) -> Trace:
    return expecting(requested(trace(), request_id=request_id), writes=writes)


def appended(t_ns: int, offset: int, data: bytes, file: str = LOG) -> Appended:
    return Appended(t_ns, Path(file), (1, 1), offset, data, read_ns=t_ns + 50)


def places(write: ExpectedWrite) -> list[int]:
    return [found.offset for found in write.writes]


def test_text_across_two_reads_has_the_later_time() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "hello r1\n", True)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.appended(appended(1, 100, b"other\nhel"))
    assert not write.writes
    attribution.appended(appended(2, 109, b"lo r1\n"))
    (found,) = write.writes
    assert (found.offset, found.length, found.t_ns, found.read_ns) == (106, 9, 2, 52)


def test_text_from_before_the_request_does_not_count() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "hello r1\n", True)
    attribution.appended(appended(1, 0, b"hello r1\n"))
    attribution.sent(request("r1", write), {LOG: 9})
    assert not write.writes


def test_same_text_twice_needs_two_writes() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(LOG, "r1\n", True), ExpectedWrite(LOG, "r1\n", True)]
    attribution.sent(request("r1", *writes), {LOG: 0})
    attribution.appended(appended(1, 0, b"r1\n"))
    assert [bool(write.writes) for write in writes] == [True, False]
    attribution.appended(appended(2, 3, b"r1\n"))
    assert sorted(write.writes[0].offset for write in writes) == [0, 3]


def test_text_without_an_id_waits_for_the_server() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    assert not write.writes
    attribution.finished(made, {LOG: 5})


def test_text_without_an_id_counts_only_in_its_window() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.sent(made, {LOG: 5})
    attribution.finished(made, {LOG: 9})
    attribution.appended(appended(2, 5, b"else"))
    attribution.appended(appended(3, 9, b"same\n"))
    assert not write.writes


def test_last_text_without_an_id_is_taken_with_its_alternatives() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.appended(appended(2, 5, b"same\n"))
    attribution.finished(made, {LOG: 10})
    (found,) = write.writes
    assert (found.offset, found.others, found.earliest, found.latest) == (5, ((0, 5),), 0, 10)
    attribution.use_first_match()
    (found,) = write.writes
    assert (found.offset, found.others, found.earliest, found.latest) == (0, ((5, 10),), 0, 10)


def test_two_requests_with_equal_texts_get_one_write_each() -> None:
    """The first to finish takes the later write, and leaves it to the request that has no other match."""
    attribution = Attribution(ID_PATTERN)
    first, second = ExpectedWrite(LOG, "same\n", False), ExpectedWrite(LOG, "same\n", False)
    one, two = request("r1", first), request("r2", second)
    attribution.sent(one, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.sent(two, {LOG: 5})
    attribution.appended(appended(2, 5, b"same\n"))
    attribution.finished(one, {LOG: 10})
    attribution.finished(two, {LOG: 10})
    assert (first.writes[0].offset, second.writes[0].offset) == (0, 5)


def test_restarted_file_is_searched_from_its_start() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "r1\n", True)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.restarted(LOG)
    attribution.appended(appended(1, 0, b"r1\n"))
    assert write.writes[0].offset == 0


def test_restarted_file_may_have_a_found_text_again() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "r1\n", True)
    attribution.sent(request("r1", write), {LOG: 0})
    attribution.appended(appended(1, 0, b"r1\n"))
    attribution.restarted(LOG)
    attribution.appended(appended(2, 0, b"other\nr1\n"))
    assert [found.offset for found in write.writes] == [0]


def test_forbidden_text_in_a_restarted_file_is_found() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "r1\n", True, count=0)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.restarted(LOG)
    attribution.appended(appended(1, 0, b"r1\n"))
    assert [found.offset for found in write.writes] == [0]


def test_restarted_file_is_not_read_up_to_its_old_size() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "r1\n", True)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"r1\n"))
    attribution.finished(made, {LOG: 100})
    assert not write.complete
    attribution.stop_reading(made, LOG)
    assert write.complete


def test_file_that_is_shorter_than_before_was_rewritten() -> None:
    attribution, made = Attribution(ID_PATTERN), request("r1", ExpectedWrite(LOG, "r1\n", True))
    attribution.sent(made, {LOG: 10})
    assert attribution.shrunk(made, {LOG: 10}) == []
    assert attribution.shrunk(made, {LOG: 9}) == [LOG]
    attribution.appended(appended(1, 10, b"12345"))
    assert attribution.shrunk(made, {LOG: 14}) == [LOG]


def test_file_that_does_not_exist_is_shorter_than_any() -> None:
    attribution, made = Attribution(ID_PATTERN), request("r1", ExpectedWrite(LOG, "r1\n", True))
    attribution.sent(made, {LOG: 1})
    assert attribution.shrunk(made, {}) == [LOG]


def test_position_of_a_file_without_reads_is_its_size() -> None:
    attribution = Attribution(ID_PATTERN)
    made = request("r1", ExpectedWrite(LOG, "r1\n", True), ExpectedWrite(OTHER, "r1\n", True))
    attribution.sent(made, {LOG: 10, OTHER: 3})
    assert (attribution.position(LOG, made), attribution.position(OTHER, made)) == (10, 3)


def test_text_that_was_found_again_stays_with_its_request() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"other\n"))
    attribution.finished(made, {LOG: 6})
    assert attribution.found_again(made, appended(2, 0, b"same\n"), lambda *_: False) == []
    assert attribution.found_again(made, appended(2, 0, b"same\n"), lambda *_: True) == write.writes
    attribution.use_first_match()
    assert places(write) == [0]


def test_surplus_and_absence_are_known_when_all_is_read() -> None:
    attribution = Attribution(ID_PATTERN)
    once, never = ExpectedWrite(LOG, "once r1\n", True), ExpectedWrite(LOG, "never r1\n", True, count=0)
    made = request("r1", once, never)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"once r1\n"))
    attribution.finished(made, {LOG: 16})
    assert (len(once.writes), never.complete) == (1, False)
    assert attribution.appended(appended(2, 8, b"once r1\n")) == [made]
    attribution.use_first_match()  # for texts without an id
    assert (len(once.writes), never.writes, never.complete) == (2, [], True)


def test_pattern_matches_text_and_not_bytes() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "^[äö] r1 \\w+$", True, pattern=True)
    attribution.sent(request("r1", write), {LOG: 0})
    attribution.appended(appended(1, 0, "ö other\nä r1 größer\n".encode()))
    (found,) = write.writes
    assert (found.text, found.offset, found.length) == ("ä r1 größer", 9, len("ä r1 größer".encode()))


def test_id_does_not_match_a_longer_id() -> None:
    attribution = Attribution(ID_PATTERN)
    one, ten = ExpectedWrite(LOG, "r01", True), ExpectedWrite(LOG, "r10", True)
    attribution.sent(request("r01", one), {LOG: 0})
    attribution.sent(request("r10", ten), {LOG: 0})
    assert [made.request_id for made in attribution.appended(appended(1, 0, b"r10"))] == ["r10"]
    assert (len(one.writes), len(ten.writes)) == (0, 1)


def test_id_as_a_uuid_is_the_id() -> None:
    request_id, uuid = "a1b2c3-07", b"a1b2c302-0000-4000-8000-000000000007"
    attribution = Attribution(pattern_of_ids("a1b2c3"))
    text = ExpectedWrite(LOG, f"{request_id} to {request_id}\n", True)
    pattern = ExpectedWrite(LOG, f"^id={re.escape(request_id)} \\w+$", True, pattern=True)
    attribution.sent(request(request_id, text, pattern), {LOG: 0})
    line = uuid + b" to a1b2c3-07\n"
    attribution.appended(appended(1, 0, line[:-1]))  # a longer text than the expected one, in two reads
    attribution.appended(appended(2, len(line) - 1, b"\nid=" + uuid + b" done\n"))
    assert [(write.offset, write.length, write.t_ns) for write in text.writes] == [(0, len(line), 2)]
    assert [write.text for write in pattern.writes] == [f"id={uuid.decode()} done"]


def test_unnecessary_bytes_are_discarded() -> None:
    attribution, chunk = Attribution(ID_PATTERN), b"x" * 65536
    attribution.sent(request("r1", ExpectedWrite(LOG, "r1\n", True)), {LOG: 0})
    for number in range(64):
        attribution.appended(appended(number, number * len(chunk), chunk))
    buffer = attribution._buffers[LOG]  # no public method shows the kept bytes
    assert len(buffer.data) <= MIN_KEPT_BYTES
    assert buffer.end == 64 * len(chunk)
    assert len(buffer.reads) <= MIN_KEPT_BYTES // len(chunk) + 1


def test_text_stays_with_a_removed_request() -> None:
    attribution = Attribution(ID_PATTERN)
    first, second = ExpectedWrite(LOG, "same\n", False), ExpectedWrite(LOG, "same\n", False)
    one, two = request("r1", first), request("r2", second)
    attribution.sent(one, {LOG: 0})
    attribution.sent(two, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.finished(one, {LOG: 5})
    attribution.remove(one)
    attribution.finished(two, {LOG: 5})
    assert (len(first.writes), len(second.writes)) == (1, 0)


def test_text_in_another_file_does_not_count() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(file, text, text == "r1\n") for file in (LOG, OTHER) for text in ("r1\n", "same\n")]
    made = request("r1", *writes)
    attribution.sent(made, {LOG: 0, OTHER: 0})
    assert attribution.appended(appended(1, 0, b"r1\nsame\n", OTHER)) == [made]
    attribution.appended(appended(1, 0, b"x\n"))
    attribution.finished(made, {LOG: 2, OTHER: 8})
    assert [places(write) for write in writes] == [[], [], [0], [3]]
    assert attribution.appended(appended(2, 8, b"none\n", OTHER)) == []


def test_ended_request_takes_no_later_text_without_an_id() -> None:
    attribution = Attribution(ID_PATTERN)
    once, twice = ExpectedWrite(LOG, "once\n", False), ExpectedWrite(LOG, "twice\n", False, count=2)
    made = request("r1", once, twice)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"twice\n"))
    attribution.finished(made, {LOG: 6})
    assert attribution.appended(appended(2, 6, b"once\ntwice\n")) == []
    attribution.use_first_match()
    assert (places(once), places(twice)) == ([], [0])
    assert (once.complete, once.size) == (True, 6)


def test_text_counts_only_if_it_is_whole_in_its_window() -> None:
    for begin, lower, upper, found in ((0, 0, 5, [0]), (0, 1, 5, []), (0, 0, 4, []), (7, 7, 12, [7]), (7, 7, 11, [])):
        for pattern in (False, True):
            attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False, pattern=pattern)
            made = request("r1", write)
            attribution.sent(made, {LOG: lower} if lower else {})
            attribution.appended(appended(1, begin, b"same\nx"))
            attribution.finished(made, {LOG: upper})
            assert places(write) == found
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "x", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"x"))
    attribution.finished(made, {LOG: 0})
    assert places(write) == []


def test_text_of_a_request_that_is_read_late_is_taken_then() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.finished(made, {LOG: 10})
    assert attribution.appended(appended(1, 0, b"same\n")) == []
    assert (write.complete, write.writes) == (False, [])
    assert attribution.appended(appended(2, 5, b"12345")) == [made]
    assert (write.complete, places(write), write.writes[0].t_ns) == (True, [0], 1)
    assert attribution.appended(appended(3, 10, b"same\n")) == []


def test_truncated_file_is_complete_when_it_is_read_again() -> None:
    attribution = Attribution(ID_PATTERN)
    for size in (1, 5):
        write = ExpectedWrite(LOG, "same\n", False)
        made = request("r1", write)
        attribution.sent(made, {LOG: 0})
        attribution.restarted(LOG)
        attribution.finished(made, {LOG: size})
        assert not write.complete
        assert attribution.appended(appended(1, 0, b"same\n")) == [made]
        assert (write.complete, places(write)) == (True, [0] if size == 5 else [])
        attribution.remove(made)


def test_size_that_the_server_does_not_know_completes_nothing() -> None:
    attribution = Attribution(ID_PATTERN)
    for size, complete in ((None, False), (0, True), (7, True), (8, False)):
        write = ExpectedWrite(LOG, "r1\n", True, count=0)
        made = request("r1", write)
        attribution.sent(made, {LOG: 7})  # no byte of the file was followed yet
        attribution.finished(made, {} if size is None else {LOG: size})
        assert write.complete == complete


def test_later_end_of_a_request_widens_its_window() -> None:
    """A task in a worker ends after the request."""
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"x\n"))
    attribution.finished(made, {LOG: 2})
    attribution.appended(appended(2, 2, b"same\n"))
    assert places(write) == []
    attribution.finished(made, {LOG: 7})
    assert places(write) == [2]


def test_truncated_file_changes_no_window_of_another() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(file, "same\n", False) for file in (LOG, OTHER)]
    made = request("r1", *writes)
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.appended(appended(1, 0, b"same\n", OTHER))
    attribution.sent(made, {LOG: 5, OTHER: 5})
    attribution.restarted(OTHER)
    attribution.appended(appended(2, 0, b"same\n", OTHER))
    attribution.finished(made, {LOG: 5, OTHER: 5})
    assert [places(write) for write in writes] == [[], [0]]


def test_truncated_file_keeps_the_texts_that_were_found() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(LOG, text, True) for text in ("one r1\n", "two r1\n")]
    attribution.sent(request("r1", *writes), {LOG: 10})
    attribution.appended(appended(1, 10, b"one r1\n"))
    attribution.restarted(LOG)
    attribution.appended(appended(2, 0, b"one r1\ntwo r1\n"))
    assert [places(write) for write in writes] == [[10], [7]]


def test_texts_of_a_truncated_file_may_be_taken_again() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(file, "same\n", False) for file in (LOG, OTHER, LOG, OTHER)]
    one, two = request("r1", *writes[:2]), request("r2", *writes[2:])
    for made in (one, two):
        attribution.sent(made, {LOG: 0, OTHER: 0})
    for file in (LOG, OTHER):
        attribution.appended(appended(1, 0, b"same\n", file))
    attribution.finished(one, {LOG: 5, OTHER: 5})
    attribution.remove(one)
    attribution.restarted(LOG)
    attribution.appended(appended(2, 0, b"same\n"))
    attribution.finished(two, {LOG: 5, OTHER: 5})
    assert [places(write) for write in writes] == [[0], [0], [0], []]


def test_taken_text_is_not_given_out_again_after_many_bytes() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(file, "same\n", False) for file in (LOG, OTHER, LOG, OTHER)]
    one, two = request("r1", *writes[:2]), request("r2", *writes[2:])
    attribution.appended(appended(1, 0, b"before\n"))
    for made in (one, two):
        attribution.sent(made, {LOG: 7, OTHER: 0})
    attribution.appended(appended(1, 7, b"same\n"))
    attribution.appended(appended(1, 0, b"same\n", OTHER))
    attribution.finished(one, {LOG: 12, OTHER: 5})
    attribution.remove(one)
    attribution.appended(appended(2, 12, NOISE))
    attribution.appended(appended(3, 12 + len(NOISE), NOISE))
    attribution.finished(two, {LOG: 12 + 2 * len(NOISE), OTHER: 5})
    assert [places(write) for write in writes] == [[7], [0], [], []]


def test_text_across_discarded_bytes_is_found_with_its_time() -> None:
    attribution = Attribution(ID_PATTERN)
    write, other = ExpectedWrite(LOG, "hello r1\n", True, count=2), ExpectedWrite(OTHER, "same\n", False)
    attribution.sent(request("r1", write, other), {LOG: 0, OTHER: 0})
    attribution.appended(appended(1, 0, NOISE + b"hel"))
    attribution.appended(appended(2, 3 + len(NOISE), b"lo r1\n" + NOISE + b"he"))
    attribution.appended(appended(3, 11 + 2 * len(NOISE), b"llo r1\n"))
    attribution.appended(appended(4, 18 + 2 * len(NOISE), b"end\n"))
    assert [(found.offset, found.text, found.t_ns) for found in write.writes] == [
        (len(NOISE), "hello r1\n", 2),
        (9 + 2 * len(NOISE), "hello r1\n", 3),
    ]


def test_bytes_are_kept_for_an_open_request_without_an_id() -> None:
    attribution = Attribution(ID_PATTERN)
    write, other = ExpectedWrite(LOG, "same\n", False), ExpectedWrite(OTHER, "same\n", False)
    made = request("r1", write, other)
    attribution.appended(appended(1, 0, b"12345"))
    attribution.sent(made, {LOG: 5, OTHER: 0})
    attribution.appended(appended(2, 5, b"same\n"))
    for number in range(4):
        attribution.appended(appended(3, 10 + number * len(NOISE), NOISE))
    buffer = attribution._buffers[LOG]
    assert buffer.start == 5
    assert buffer.limit > len(buffer.data)  # not searched again for each read
    attribution.finished(made, {LOG: 10, OTHER: 0})
    assert [(found.offset, found.text, found.t_ns) for found in write.writes] == [(5, "same\n", 2)]
    attribution.remove(made)
    for number in range(4, 10):
        attribution.appended(appended(4, 10 + number * len(NOISE), NOISE))
    assert len(buffer.data) < MIN_KEPT_BYTES
    assert attribution._taken == {}


def test_bytes_after_a_gap_start_a_new_search() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "hello r1\n", True)
    attribution.sent(request("r1", write), {LOG: 0})
    attribution.appended(appended(1, 0, b"hel"))
    attribution.appended(appended(2, 50, b"lo r1\n"))
    assert write.writes == []
    attribution.appended(appended(3, 56, b"hello r1\n"))
    assert (places(write), write.writes[0].t_ns, write.writes[0].text) == ([56], 3, "hello r1\n")
    attribution.appended(appended(4, 10, b"hello r1\n"))
    assert (places(write), write.writes[1].t_ns) == ([56, 10], 4)


def test_third_equal_text_is_one_too_many_of_the_first() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(*about, True) for about in ((LOG, "r1\n"), (LOG, "r1\n"), (OTHER, "r1\n"), (LOG, "r1"))]
    attribution.sent(request("r1", *writes), {LOG: 0})
    attribution.appended(appended(1, 0, b"r1\nr1\nr1\n"))
    assert [len(places(write)) for write in writes] == [2, 1, 0, 3]


def test_text_expected_twice_without_an_id_has_no_alternative() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False, count=2)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\nsame\n"))
    attribution.finished(made, {LOG: 10})
    assert [(found.offset, found.others) for found in write.writes] == [(5, ()), (0, ())]


def test_text_that_must_not_be_written_is_found_without_an_id() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "no\n", False, count=0)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"no\nno\n"))
    attribution.finished(made, {LOG: 6})
    assert places(write) == [3]


def test_removed_request_gets_no_news_and_gives_nothing_back() -> None:
    attribution = Attribution(ID_PATTERN)
    first, second, third = (ExpectedWrite(LOG, "same\n", False) for _ in range(3))
    one, two, three = (request(f"r{n}", write) for n, write in enumerate((first, second, third), 1))
    for made in (one, two, three):
        attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\nsame\n"))
    attribution.finished(one, {LOG: 10})
    attribution.remove(one)
    attribution.finished(three, {LOG: 11})
    attribution.remove(three)
    attribution.use_first_match()
    attribution.finished(two, {LOG: 10})
    assert (places(first), places(second)) == ([5], [0])
    assert attribution.appended(appended(2, 10, b"x")) == []
    assert (third.complete, places(third)) == (False, [])


def test_text_of_a_removed_request_is_not_moved() -> None:
    """Its result was already reported."""
    attribution = Attribution(ID_PATTERN)
    first, second = ExpectedWrite(LOG, "same\n", False), ExpectedWrite(LOG, "same\n", False)
    one, two = request("r1", first), request("r2", second)
    attribution.sent(one, {LOG: 0})
    attribution.sent(two, {LOG: 5})
    attribution.appended(appended(1, 0, b"same\nsame\n"))
    attribution.finished(one, {LOG: 10})
    attribution.remove(one)
    attribution.finished(two, {LOG: 10})
    attribution.use_first_match()
    assert (places(first), places(second)) == ([5], [])


def test_text_that_a_request_gave_away_is_no_longer_its_own() -> None:
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(LOG, "same\n", False) for _ in range(3)]
    one, two, three = (request(f"r{n}", write) for n, write in enumerate(writes, 1))
    attribution.sent(one, {LOG: 0})
    for made in (two, three):
        attribution.sent(made, {LOG: 5})
    attribution.appended(appended(1, 0, b"same\nsame\n"))
    attribution.finished(one, {LOG: 10})
    attribution.finished(two, {LOG: 10})
    attribution.remove(two)
    attribution.use_first_match()
    attribution.finished(three, {LOG: 10})
    assert [places(write) for write in writes] == [[0], [5], []]


def test_pattern_takes_whole_bytes_and_no_empty_match() -> None:
    attribution = Attribution(ID_PATTERN)
    empty, invalid = (ExpectedWrite(LOG, text, False, count=9, pattern=True) for text in ("[ab]*", "r.*$"))
    made = request("r1", empty, invalid)
    attribution.sent(made, {LOG: 2})
    attribution.appended(appended(1, 0, "ö\nöb\n".encode() + b"\xff\xffr\xff\n"))
    attribution.finished(made, {LOG: 12})
    assert [(found.offset, found.length, found.text) for found in empty.writes] == [(5, 1, "b")]
    assert [(found.offset, found.length, found.text) for found in invalid.writes] == [(9, 2, "r\ufffd")]


def test_long_match_of_a_pattern_is_found_across_reads() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "a+ r1$", True, pattern=True)
    short = ExpectedWrite(LOG, "r2", True)
    attribution.sent(request("r1", write), {LOG: 0})
    attribution.sent(request("r2", short), {LOG: 0})
    attribution.appended(appended(1, 0, b"a" * 3000))
    attribution.appended(appended(2, 3000, b" r1\n"))
    (found,) = write.writes
    assert (found.offset, found.length) == (0, 3003)


# Many requests that are open at the same time


def open_at_once(number: int, *, texts: int, reverse: bool = False) -> list[ExpectedWrite]:
    """Let ``number`` requests expect the same text, which is in the file so many times, and finish after all texts."""
    attribution = Attribution(ID_PATTERN)
    writes = [ExpectedWrite(LOG, "same\n", False) for _ in range(number)]
    made = [request(f"r{at}", write) for at, write in enumerate(writes)]
    for each in made:
        attribution.sent(each, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n" * texts + b"."))
    for each in reversed(made) if reverse else made:
        attribution.finished(each, {LOG: 5 * texts + 1})
    return writes


@pytest.mark.parametrize("share", [0, 0.5, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_work_is_linear_in_the_requests_open_at_once(share: float, reverse: bool) -> None:
    assert is_linear(lambda number: open_at_once(number, texts=int(share * number), reverse=reverse), 2 * MAX_BY_LAST)


def test_texts_of_many_open_requests_have_one_owner_each() -> None:
    writes = open_at_once(5 * MAX_BY_LAST, texts=5 * MAX_BY_LAST)
    assert sorted(place for write in writes for place in places(write)) == list(range(0, 25 * MAX_BY_LAST, 5))
    ends = {(write.writes[0].earliest, write.writes[0].latest) for write in writes}
    assert ends == {(0, 25 * MAX_BY_LAST)}


def test_work_is_linear_in_the_writes_of_one_request() -> None:
    def write(number: int) -> None:
        attribution, expected = Attribution(ID_PATTERN), ExpectedWrite(LOG, "same\n", False, count=number)
        made = request("r1", expected)
        attribution.sent(made, {LOG: 0})
        attribution.appended(appended(1, 0, b"same\n" * number))
        attribution.finished(made, {LOG: 5 * number})
        assert len(expected.writes) == number

    assert is_linear(write, 300)


windows = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.booleans()), min_size=1, max_size=9)


@given(windows, st.integers(0, 12), st.booleans())
def test_as_many_texts_are_assigned_as_can_be(rows: list[tuple[int, int, bool]], total: int, first: bool) -> None:
    """Compare with all possible assignments, whatever the order of the ends is, also with a pattern."""
    attribution = Attribution(ID_PATTERN)
    attribution.first_match = first
    made, ends = [], []
    for number, (lower, more, pattern) in enumerate(rows):
        write = ExpectedWrite(LOG, "t.\n" if pattern else "tt\n", False, pattern=pattern)
        made.append(request(f"r{number}", write))
        ends.append((3 * min(lower, total), 3 * min(lower + more, total)))
        attribution.sent(made[-1], {LOG: ends[-1][0]})
    if total:
        attribution.appended(appended(1, 0, b"tt\n" * total))
    for each, (_, upper) in zip(made, ends, strict=True):
        attribution.finished(each, {LOG: upper})
    found = [place for each in made for write in each.expected.writes for place in places(write)]
    assert len(set(found)) == len(found)
    for each, (lower, upper) in zip(made, ends, strict=True):
        assert all(lower <= place < upper for write in each.expected.writes for place in places(write))
    assert len(found) == most_pairs([range(lower // 3, upper // 3) for lower, upper in ends])


def most_pairs(windows: list[range]) -> int:
    """Return how many windows can have a number of their own: the smallest numbers go to the windows that end first."""
    free = sorted({number for window in windows for number in window})
    count = 0
    for window in sorted(windows, key=lambda window: window.stop):
        number = next((number for number in free if number in window), None)
        if number is not None:
            free.remove(number)
            count += 1
    return count
