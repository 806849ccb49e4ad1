"""Which write belongs to which request."""

from pathlib import Path

from fastbg.attribution import Attribution
from fastbg.events import Appended
from fastbg.timeline import ExpectedWrite, Trace
from tests.traces import LOG, trace


def request(request_id: str, *writes: ExpectedWrite) -> Trace:
    made = trace(writes=0)
    made.request_id = request_id
    made.expected_writes = list(writes)
    return made


def appended(t_ns: int, offset: int, data: bytes) -> Appended:
    return Appended(t_ns, Path(LOG), (1, 1), offset, data)


def test_marked_text_is_found_across_two_reads_and_has_the_time_of_its_last_byte() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "hello r1\n", True)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.appended(appended(1, 100, b"other\nhel"))
    assert write.write is None
    attribution.appended(appended(2, 109, b"lo r1\n"))
    assert write.write is not None
    assert (write.write.offset, write.write.length, write.write.t_ns) == (106, 9, 2)


def test_text_from_before_the_request_does_not_count() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "hello\n", True)
    attribution.appended(appended(1, 0, b"hello\n"))
    attribution.sent(request("r1", write), {LOG: 6})
    assert write.write is None


def test_same_text_twice_needs_two_writes() -> None:
    attribution = Attribution()
    writes = [ExpectedWrite(LOG, "r1\n", True), ExpectedWrite(LOG, "r1\n", True)]
    attribution.sent(request("r1", *writes), {LOG: 0})
    attribution.appended(appended(1, 0, b"r1\n"))
    assert [bool(write.write) for write in writes] == [True, False]
    attribution.appended(appended(2, 3, b"r1\n"))
    assert sorted(write.write.offset for write in writes if write.write) == [0, 3]


def test_unmarked_text_waits_for_the_servers_word() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    assert write.write is None
    attribution.finished(made, {LOG: 5})
    assert write.write is not None


def test_unmarked_text_of_another_run_outside_of_the_window_is_not_taken() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.sent(made, {LOG: 5})
    attribution.finished(made, {LOG: 9})
    attribution.appended(appended(2, 5, b"else"))
    attribution.appended(appended(3, 9, b"same\n"))
    assert write.write is None


def test_unmarked_text_closest_to_the_end_is_the_requests_own() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "same\n", False)
    made = request("r1", write)
    attribution.sent(made, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.appended(appended(2, 5, b"same\n"))
    attribution.finished(made, {LOG: 10})
    assert write.write is not None
    assert write.write.offset == 5


def test_two_requests_with_one_text_each_get_a_write_of_their_own() -> None:
    """The first to finish takes the later write, and gives it up to the one that has no other."""
    attribution = Attribution()
    first, second = ExpectedWrite(LOG, "same\n", False), ExpectedWrite(LOG, "same\n", False)
    one, two = request("r1", first), request("r2", second)
    attribution.sent(one, {LOG: 0})
    attribution.appended(appended(1, 0, b"same\n"))
    attribution.sent(two, {LOG: 5})
    attribution.appended(appended(2, 5, b"same\n"))
    attribution.finished(one, {LOG: 10})
    attribution.finished(two, {LOG: 10})
    assert first.write is not None
    assert second.write is not None
    assert (first.write.offset, second.write.offset) == (0, 5)


def test_file_that_begins_again_is_searched_from_its_start() -> None:
    attribution, write = Attribution(), ExpectedWrite(LOG, "r1\n", True)
    attribution.sent(request("r1", write), {LOG: 100})
    attribution.restarted(LOG)
    attribution.appended(appended(1, 0, b"r1\n"))
    assert write.write is not None
    assert write.write.offset == 0
