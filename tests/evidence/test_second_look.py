"""Files that are searched again, because an expected text was not appended to them."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from fastbg.events import Appended, Event
from fastbg.evidence import second_look as module
from fastbg.evidence.attribution import Attribution
from fastbg.evidence.second_look import SecondLook
from fastbg.evidence.trace import Change, Disturbance, Expected, ExpectedWrite, SentRequest, Trace

LATER = (10**9, 10**9 + 1)  # access and modification time of a changed file, in seconds


class Looked:
    """A file, and requests that expect texts in it."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.path = folder / "log.txt"
        self.attribution = Attribution("r[0-9]+")
        self.second_look = SecondLook(self.attribution)
        self.write(content, at=(1, 1))

    def write(self, content: bytes, at: tuple[float, float] = LATER) -> None:
        self.path.write_bytes(content)
        os.utime(self.path, at)

    def send(
        self, request_id: str, text: str, *more: ExpectedWrite, t_ns: int = 1000, has_id: bool = True,
        change: Change | None = None,
    ) -> Trace:  # fmt: skip
        expected = ExpectedWrite(str(self.path), text, has_id, change=change)
        trace = Trace(SentRequest(request_id, "GET", "", ""), Expected(writes=(expected, *more)))
        sizes = {str(self.path): self.path.stat().st_size} if self.path.exists() else {}
        trace.events.append(Event(t_ns, "client", "request_sent", request_id, {"sizes": sizes}))
        self.attribution.sent(trace, sizes)
        self.second_look.sent(trace)
        return trace

    def append(self, t_ns: int, offset: int, data: bytes) -> None:
        """Let the follower read ``data``."""
        self.attribution.appended(Appended(t_ns, self.path, (1, 1), offset, data))

    def look(self, trace: Trace) -> dict[str, Disturbance]:
        return {Path(file).name: how for file, how in asyncio.run(self.second_look.look(trace)).items()}


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    return Looked(tmp_path, b"before\n")


def doubt(trace: Trace) -> str:
    (missing,) = trace.missing
    return trace.doubt(missing) or ""


def test_text_that_was_written_over_another_is_found(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.write(b"r1 new\n")
    assert looked.look(trace) == {"log.txt": "rewritten"}
    (write,) = trace.writes
    assert (write.text, write.offset, write.length) == ("r1", 0, 2)
    assert trace.witnesses.disturbed == {str(looked.path): "rewritten"}


def test_text_that_stands_twice_is_found_once(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.write(b"r1 r1")
    looked.look(trace)
    assert [write.offset for write in trace.writes] == [0]


def test_file_that_cannot_be_read_has_no_text(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: int) -> bytes:
        raise OSError

    trace = looked.send("r1", "?")
    looked.write(b"?")
    monkeypatch.setattr(os, "pread", fail)
    assert looked.look(trace) == {}
    assert not trace.writes


def test_text_in_a_database_is_found(tmp_path: Path) -> None:
    looked = Looked(tmp_path, b"format 3\0" + bytes(100))
    trace = looked.send("r1", "r1")
    looked.write(b"format 3\0" + bytes(50) + b"r1" + bytes(48))
    assert looked.look(trace) == {"log.txt": "changed in place"}
    assert [write.offset for write in trace.writes] == [59]


def test_appended_text_that_nobody_has_read_yet_keeps_its_place(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.write(b"before\nr1\n")
    assert looked.look(trace) == {}
    assert [write.offset for write in trace.writes] == [7]
    assert not trace.witnesses.disturbed
    looked.append(2000, 7, b"r1\n")
    assert len(trace.writes) == 1


def test_text_across_two_chunks_is_found(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    trace = looked.send("r1", "hello r1")
    looked.write(b"12hello r1\n")
    looked.look(trace)
    assert [write.offset for write in trace.writes] == [2]


def test_file_that_nobody_changed_leaves_no_doubt(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    assert looked.look(trace) == {}
    assert doubt(trace) == ""
    looked.write(b"before\nother\n")  # appended, and seen by the follower
    assert looked.look(trace) == {}
    assert doubt(trace) == ""


def test_file_that_was_changed_in_place_leaves_a_doubt(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.write(b"BEFORE\n")
    looked.look(trace)
    assert doubt(trace) == "log.txt was changed in place, so its appended bytes do not show what was written"


def test_file_that_is_too_long_leaves_a_doubt(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2**20)
    trace = looked.send("r1", "r1")
    looked.write(b"x" * 2**21 + b"r1")
    looked.look(trace)
    assert doubt(trace) == "log.txt is longer than 1 MiB, and only its first 1 MiB were searched"


def test_file_that_was_deleted_leaves_a_doubt(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.path.unlink()
    looked.look(trace)
    assert doubt(trace) == "log.txt does not exist any more, so it cannot be searched"


def test_only_texts_of_a_deleted_file_have_a_doubt(looked: Looked, tmp_path: Path) -> None:
    other = ExpectedWrite(str(tmp_path / "other.txt"), "r1", True)
    created = ExpectedWrite(str(looked.path), "", False, change="created")
    trace = looked.send("r1", "r1", other, created)
    looked.path.unlink()
    looked.look(trace)
    assert [trace.doubt(write) is not None for write in trace.missing] == [True, False, False]


def test_text_in_a_new_file_is_found(looked: Looked) -> None:
    looked.path.unlink()
    trace = looked.send("r1", "r1")
    looked.write(b"r1")
    assert looked.look(trace) == {}
    assert [write.offset for write in trace.writes] == [0]


def test_database_without_the_text_was_not_changed_by_it(tmp_path: Path) -> None:
    looked = Looked(tmp_path, b"format 3\0")
    trace = looked.send("r1", "r1")
    assert looked.look(trace) == {}
    assert not trace.witnesses.disturbed


def test_creation_that_the_follower_missed_is_found(looked: Looked) -> None:
    looked.path.unlink()
    trace = looked.send("r1", "", change="created")
    looked.look(trace)
    assert (doubt(trace), [event.source for event in trace.events]) == ("", ["client", "file"])
    looked.write(b"new")
    looked.look(trace)
    assert [write.change for write in trace.writes] == ["created"]


def test_deletion_of_a_file_that_nobody_saw_is_a_doubt(looked: Looked, tmp_path: Path) -> None:
    never = ExpectedWrite(str(tmp_path / "never.txt"), "", False, change="deleted")
    trace = looked.send("r1", "", never, change="deleted")
    looked.look(trace)
    assert [trace.doubt(write) for write in trace.missing] == [
        None,
        "never.txt was never seen, so nothing shows that it was deleted",
    ]
    looked.path.unlink()
    looked.look(trace)
    assert [write.change for write in trace.writes] == ["deleted"]


def test_look_for_a_text_adds_no_event(looked: Looked) -> None:
    trace = looked.send("r1", "r1")
    looked.look(trace)
    assert len(trace.events) == 1


def test_named_pipe_is_not_opened(looked: Looked) -> None:
    looked.path.unlink()
    os.mkfifo(looked.path)
    trace = looked.send("r1", "r1")
    assert looked.look(trace) == {}


# Texts without an id


def test_whole_content_of_a_changed_file_is_a_write(looked: Looked) -> None:
    trace = looked.send("r1", "before\n", has_id=False)
    looked.look(trace)
    assert not trace.writes
    assert doubt(trace) == ""
    looked.write(b"before\n")  # the same again
    assert looked.look(trace) == {"log.txt": "rewritten"}
    assert [write.text for write in trace.writes] == ["before\n"]


def test_part_of_a_changed_file_may_be_old(looked: Looked) -> None:
    trace = looked.send("r1", "before", has_id=False)
    looked.write(b"before\nand more")
    looked.look(trace)
    assert not trace.writes
    assert doubt(trace) == "'before' is in log.txt, but may be older than the request: put ${mark} into it"


def test_text_in_a_file_that_was_just_changed_may_be_new(looked: Looked) -> None:
    """An older kernel may give two changes the same modification time."""
    soon = time.time() + 3600  # later than any time at which the test may look
    looked.write(b"before\n", at=(soon, soon))
    trace = looked.send("r1", "before\n", has_id=False)
    looked.look(trace)
    assert not trace.writes
    assert doubt(trace).endswith("may be older than the request: put ${mark} into it")


def test_same_text_of_another_request_is_not_taken_twice(looked: Looked) -> None:
    one, two = (looked.send(request_id, "same", has_id=False) for request_id in ("r1", "r2"))
    looked.write(b"same")
    looked.look(one)
    looked.look(two)
    assert (len(one.writes), two.writes, two.missing) == (1, [], [])
    assert len(two.overwritten) == 1


# Texts that another request has overwritten


def overwritten(looked: Looked, content: bytes, *, t_ns: int = 2000) -> bool:
    """Return whether the write of r1 counts as overwritten, after a text of r2 was seen at the time ``t_ns``."""
    one, two = looked.send("r1", "r1"), looked.send("r2", "r2")
    one.witnesses.disturbed[str(looked.path)] = "rewritten"
    looked.attribution.restarted(str(looked.path))
    looked.append(t_ns, 0, b"r2 text")
    assert two.writes
    looked.write(content)
    looked.look(one)
    return bool(one.overwritten)


def test_text_in_whose_place_another_stands_is_overwritten(looked: Looked) -> None:
    assert overwritten(looked, b"r2 text")


def test_text_that_another_request_did_not_overwrite_is_missing(looked: Looked) -> None:
    assert not overwritten(looked, b"wrong")


def test_text_of_an_earlier_request_overwrites_nothing(looked: Looked) -> None:
    assert not overwritten(looked, b"r2 text", t_ns=900)


def test_rows_of_a_database_do_not_overwrite_each_other(looked: Looked) -> None:
    assert not overwritten(looked, b"r2 text\0")


@pytest.mark.parametrize(("before", "shared"), [(b"", True), (b"", False), (b"before\n", True)])
def test_new_file_with_one_text_may_have_been_rewritten(tmp_path: Path, before: bytes, shared: bool) -> None:
    looked = Looked(tmp_path, before)
    one, two = looked.send("r1", "r1"), looked.send("r2", "r2")
    one.expected.writes[0].shared = shared
    looked.write(before + b"r2")
    looked.append(2000, len(before), b"r2")
    assert two.writes
    may_be = shared and not before
    assert looked.look(one) == ({"log.txt": "rewritten"} if may_be else {})
    assert bool(one.overwritten) is may_be
