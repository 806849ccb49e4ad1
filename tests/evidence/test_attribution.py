"""Attribution of writes to requests."""

import re
from pathlib import Path

from fastbg.events import Appended
from fastbg.evidence.attribution import MIN_KEPT_BYTES, Attribution
from fastbg.evidence.trace import ExpectedWrite, Trace
from fastbg.recorder.request_ids import pattern_of_ids
from tests.support.traces import LOG, expecting, requested, trace

ID_PATTERN = "r[0-9]+"


def request(request_id: str, *writes: ExpectedWrite) -> Trace:
    return expecting(requested(trace(), request_id=request_id), writes=writes)


def appended(t_ns: int, offset: int, data: bytes) -> Appended:
    return Appended(t_ns, Path(LOG), (1, 1), offset, data)


def test_text_across_two_reads_has_the_later_time() -> None:
    attribution, write = Attribution(ID_PATTERN), ExpectedWrite(LOG, "hello r1\n", True)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.appended(appended(1, 100, b"other\nhel"))
    assert not write.writes
    attribution.appended(appended(2, 109, b"lo r1\n"))
    assert (write.writes[0].offset, write.writes[0].length, write.writes[0].t_ns) == (106, 9, 2)


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


def test_surplus_and_absence_are_known_when_all_is_read() -> None:
    attribution = Attribution(ID_PATTERN)
    once, never = ExpectedWrite(LOG, "once r1\n", True), ExpectedWrite(LOG, "never r1\n", True, count=0)
    made = request("r1", once, never)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"once r1\n"))
    attribution.finished(made, {LOG: 16})
    assert (len(once.writes), never.complete) == (1, False)
    assert attribution.appended(appended(2, 8, b"once r1\n")) == [made]
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
