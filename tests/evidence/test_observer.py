"""Many requests at the same time: the owner of each write, and the end of each request."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.events import Appended, Event, Notice, boot_id
from fastbg.evidence import observer as module
from fastbg.evidence.observer import Observer
from fastbg.evidence.trace import MAX_MOVES, Change, Expected, ExpectedWrite, SentRequest, Trace
from fastbg.evidence.verdict import judge
from fastbg.follow.follower import Follower
from tests.support.operations import is_linear
from tests.support.processes import PATIENCE_S

LOG, JOURNAL = Path("/data/log.txt"), Path("/data/journal.jsonl")
TEXT = "same\n"

Request = tuple[int, int, int, int]  # times of sending, response, write and end
requests = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12
).map(lambda rows: [(sent, sent + a, sent + a + b, sent + a + b + c) for sent, a, b, c in rows])


def journal(t_ns: int, name: str, request: str, **detail: object) -> bytes:
    fields = {"t_ns": t_ns, "wall_ns": t_ns, "boot": boot_id(), "pid": 1, "event": name, "request": request}
    return json.dumps(fields | detail).encode() + b"\n"


def run(made: list[Request], late: list[int]) -> tuple[list[Trace], int]:
    """Return the traces of requests that write the same text, and the number of open ones; files are seen ``late``."""
    done: list[Trace] = []
    observer = Observer([LOG], JOURNAL, "r[0-9]+", done.append, has_all_sizes=True)
    happens: list[tuple[int, int, int, str]] = []  # all times are different
    for number, times in enumerate(made):
        names = ("sent", "answered", "written", "finished")
        happens += [(t, number, order, name) for order, (t, name) in enumerate(zip(times, names, strict=True))]
    traces = [
        Trace(SentRequest(f"r{number}", "GET", "", ""), Expected(writes=(ExpectedWrite(str(LOG), TEXT, False),)))
        for number in range(len(made))
    ]
    size = journal_size = 0
    items: list[Appended] = []
    waits: list[tuple[int, Appended]] = []
    sizes = {str(LOG): 0}

    async def stream() -> AsyncIterator[Appended]:
        nonlocal size, journal_size
        for t_ns, (_, number, _, name) in enumerate(sorted(happens), start=1):
            request, trace = f"r{number}", traces[number]
            sizes[str(LOG)] = size
            lines = b""
            match name:
                case "sent":
                    observer.watch(trace)
                    observer.record(trace, Event(t_ns, "client", "request_sent", request, {"sizes": dict(sizes)}))
                case "answered":
                    observer.record(trace, Event(t_ns, "client", "response_headers", request, {"status": 200}))
                    observer.record(trace, Event(t_ns, "client", "response_complete", request, {"sizes": dict(sizes)}))
                    observer.update(trace)
                    task = {"task": "app.write", "n": 0}
                    lines = journal(t_ns, "task_queued", request, **task)
                    lines += journal(t_ns, "response_sent", request, status=200, files=dict(sizes), buffered=0)
                    lines += journal(t_ns + 1, "task_started", request, **task, where="thread")
                case "written":
                    data = TEXT.encode()
                    waits.append((t_ns + late[number % len(late)], Appended(t_ns, LOG, (1, 1), size, data)))
                    size += len(data)
                case "finished":
                    lines = journal(t_ns, "task_finished", request, task="app.write", n=0)
                    lines += journal(t_ns, "request_finished", request, files=dict(sizes))
            if lines:
                yield Appended(t_ns, JOURNAL, (1, 2), journal_size, lines)
                journal_size += len(lines)
            while waits and waits[0][0] <= t_ns:  # writes of a file keep their order
                yield waits.pop(0)[1]
        for _, item in waits:
            yield item

    asyncio.run(observer.follow(stream()))  # type: ignore[arg-type]  # any iterator of items
    assert not items
    return done, len(observer.live)


@given(made=requests, late=st.lists(st.integers(0, 20), min_size=1, max_size=4), most=st.integers(0, 20))
def test_equal_texts_belong_to_one_request_each(made: list[Request], late: list[int], most: int) -> None:
    """The limit ``most`` decides when texts are assigned by the first match."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_HELD", most)
        done, left = run(made, late)
    assert (len(done), left) == (len(made), 0)
    offsets = [write.offset for trace in done for write in trace.writes]
    assert sorted(offsets) == [number * len(TEXT) for number in range(len(made))]
    assert {judge(trace).verdict for trace in done} == {"response-first"}


def test_parts_of_a_journal_have_lines_of_their_own() -> None:
    line, late = journal(5, "response_sent", "r1"), journal(4, "task_queued", "r1", task="app.write", n=0)
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
    trace = Trace(SentRequest("r1", "GET", "", ""))
    observer.watch(trace)

    async def stream() -> AsyncIterator[Appended]:
        yield Appended(1, JOURNAL, (1, 1), 0, late[:20])
        yield Appended(2, JOURNAL, (1, 2), 0, line[:20])
        yield Appended(3, JOURNAL, (1, 1), 20, late[20:])
        yield Appended(4, JOURNAL, (1, 2), 20, line[20:])

    asyncio.run(observer.follow(stream()))  # type: ignore[arg-type]  # any iterator of items
    assert [event.name for event in trace.events] == ["task_queued", "response_sent"]


def test_written_events_count_after_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.touch()
    observer = Observer([], path, "r[0-9]+", lambda _: None, has_all_sizes=True)
    trace = Trace(SentRequest("r1", "GET", "", ""))
    observer.watch(trace)

    async def written(name: str, seconds: float) -> bool:
        with path.open("ab") as file:  # without a pause in which the follower could read
            file.write(journal(1, name, "r1"))
        return await observer.until(lambda: trace.find(name) is not None, seconds)

    async def scenario() -> None:
        async with Follower([path], journals=[path]) as follower:
            following = asyncio.create_task(observer.follow(follower))
            assert await written("request_received", PATIENCE_S)
            assert await written("request_finished", 0)
            assert not await observer.until(lambda: False, 0)
            following.cancel()

    asyncio.run(scenario())


# Files that are not only appended to


def sent_to(observer: Observer, request: str, *writes: ExpectedWrite, sizes: dict[str, int]) -> Trace:
    """Return a request that was sent and answered."""
    trace = Trace(SentRequest(request, "GET", "", ""), Expected(writes=writes))
    observer.watch(trace)
    observer.record(trace, Event(1000, "client", "request_sent", request, {"sizes": sizes}))
    observer.record(trace, Event(1100, "client", "response_headers", request, {"status": 200}))
    observer.record(trace, Event(1100, "client", "response_complete", request, {"sizes": sizes}))
    return trace


def ended(request: str, **files: int) -> bytes:
    task = {"task": "app.write", "n": 0}
    lines = journal(1050, "response_sent", request, status=200, files=files, buffered=0, sending_ns=1040)
    lines += journal(1060, "task_queued", request, **task) + journal(1060, "task_started", request, **task)
    return lines + journal(1070, "task_finished", request, **task) + journal(1080, "request_finished", request)


def test_file_is_searched_again_after_the_text_of_another(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.touch()
    done: list[Trace] = []
    observer = Observer([log], JOURNAL, "r[0-9]+", done.append, has_all_sizes=False)
    sizes = {str(log): 0}
    one, two = (sent_to(observer, name, ExpectedWrite(str(log), name, True), sizes=sizes) for name in ("r1", "r2"))

    async def stream() -> AsyncIterator[Appended | Notice]:
        yield Notice(1200, log, "truncated", "")
        yield Appended(1300, JOURNAL, (1, 2), 0, ended("r1"))
        async with asyncio.timeout(PATIENCE_S):
            while one.request_id not in observer._looked or observer._to_look:  # no public method shows them
                await asyncio.sleep(0)
        assert not done
        log.write_text("r2", encoding="utf-8")
        yield Appended(1400, log, (1, 1), 0, b"r2")
        async with asyncio.timeout(PATIENCE_S):
            while not done:
                await asyncio.sleep(0)

    async def scenario() -> None:
        looking = asyncio.create_task(observer.look_again())
        await observer.follow(stream())  # type: ignore[arg-type]  # any iterator of items
        looking.cancel()

    asyncio.run(scenario())
    assert done == [one]
    assert (judge(one).verdict, judge(one).evidence) == ("response-first", ("server",))
    assert len(two.writes) == 1


def follow(observer: Observer, *items: Appended | Notice) -> None:
    async def stream() -> AsyncIterator[Appended | Notice]:
        for item in items:
            yield item

    asyncio.run(observer.follow(stream()))  # type: ignore[arg-type]  # any iterator of items


def test_size_of_a_file_with_zero_bytes_proves_nothing() -> None:
    """The file had its full size when the response was sent, and the task has filled it."""
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
    trace = sent_to(observer, "r1", ExpectedWrite(str(LOG), "r1", True), sizes={str(LOG): 0})
    lines = ended("r1", **{str(LOG): 100})
    follow(observer, Appended(1300, JOURNAL, (1, 2), 0, lines), Appended(1400, LOG, (1, 1), 0, b"\0r1" + bytes(97)))
    assert (judge(trace).verdict, judge(trace).evidence) == ("response-first", ("server",))
    assert judge(trace).reason == (
        "log.txt was perhaps changed in place during the request; the server's events prove the order"
    )


def test_file_that_is_shorter_at_the_response_proves_nothing() -> None:
    """Another request has truncated it, and the follower has not seen that."""
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
    trace = Trace(SentRequest("r1", "GET", "", ""), Expected(writes=(ExpectedWrite(str(LOG), "r1", True),)))
    observer.watch(trace)
    observer.record(trace, Event(1000, "client", "request_sent", "r1", {"sizes": {str(LOG): 5}}))
    follow(observer, Appended(1050, LOG, (1, 1), 5, b"r1"))
    observer.record(trace, Event(1100, "client", "response_complete", "r1", {"sizes": {str(LOG): 5}}))
    assert trace.witnesses.disturbed == {str(LOG): "rewritten"}


def test_creation_and_deletion_are_seen_by_the_follower() -> None:
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=False)
    writes = (
        ExpectedWrite(str(LOG), "", False, change="created"),
        ExpectedWrite(str(LOG), "", False, change="deleted"),
    )
    trace = sent_to(observer, "r1", *writes, sizes={})
    follow(observer, Notice(1200, LOG, "appeared", ""), Notice(1300, LOG, "missing", ""))
    assert [(write.change, write.t_ns, write.shared) for write in trace.writes] == [
        ("created", 1200, False),
        ("deleted", 1300, False),
    ]


def test_change_of_a_file_is_shared_by_open_requests() -> None:
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=False)
    text = ExpectedWrite(str(LOG), "r1", True)
    created, other = (ExpectedWrite(str(path), "", False, change="created") for path in (LOG, Path("/data/other.txt")))
    sent_to(observer, "r1", text, sizes={})
    sent_to(observer, "r2", other, sizes={})
    sent_to(observer, "r3", created, sizes={})
    assert (created.shared, other.shared) == (True, False)


def test_request_whose_text_was_seen_writes_no_more() -> None:
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=False)
    writes = [ExpectedWrite(str(LOG), f"r{n}", True) for n in range(1, 5)]
    sent_to(observer, "r1", writes[0], sizes={})
    follow(observer, Appended(1150, LOG, (1, 1), 0, b"r1"))
    sent_to(observer, "r2", writes[1], sizes={str(LOG): 2})
    assert [write.shared for write in writes] == [False] * 4
    sent_to(observer, "r3", writes[2], sizes={str(LOG): 2})
    sent_to(observer, "r4", writes[3], sizes={str(LOG): 2})
    assert [write.shared for write in writes] == [False, True, True, True]


def test_text_in_a_shared_place_is_judged_last() -> None:
    """The follower sees only later that requests rewrite the file."""
    done: list[Trace] = []
    observer = Observer([LOG], JOURNAL, "r[0-9]+", done.append, has_all_sizes=False)
    one, _ = (sent_to(observer, name, ExpectedWrite(str(LOG), name, True), sizes={}) for name in ("r1", "r2"))
    one.events = [event for event in one.events if event.name != "response_complete"]
    one.events.append(Event(1100, "client", "response_complete", "r1", {"sizes": {str(LOG): 2}}))
    lines = ended("r1", **{str(LOG): 2})
    seen = Appended(1300, LOG, (1, 1), 0, b"r1"), Appended(1300, JOURNAL, (1, 2), 0, lines)
    follow(observer, *seen)
    assert one.settled
    assert not done
    more = Appended(1500, LOG, (1, 1), 0, b"r2"), Appended(1500, JOURNAL, (1, 2), len(lines), ended("r2"))
    follow(observer, Notice(1400, LOG, "truncated", ""), *more)
    assert one in done
    assert (judge(one).verdict, judge(one).evidence) == ("response-first", ("server",))


# The work for many requests at the same time


def test_event_wakes_only_those_who_wait_for_its_request() -> None:
    """Otherwise each event of each of 1000 open requests would wake 1000 waiting ones."""
    observer = Observer([], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
    traces = [Trace(SentRequest(f"r{number}", "GET", "", "")) for number in range(3)]
    asked: list[str] = []

    async def scenario() -> None:
        def asks(trace: Trace) -> bool:
            asked.append(trace.request_id)
            return trace.status is not None

        waits = [
            asyncio.create_task(observer.until(partial(asks, each), PATIENCE_S, trace=each, quiet=True))
            for each in traces
        ]
        await asyncio.sleep(0)
        assert asked == ["r0", "r1", "r2"]
        for each in traces:
            asked.clear()
            observer.watch(each)
            observer.record(each, Event(1, "client", "response_headers", each.request_id, {"status": 200}))
            observer.update(each)
            for _ in range(5):
                await asyncio.sleep(0)
            assert asked == [each.request_id]
        assert await asyncio.gather(*waits) == [True] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize("late", [0, 10**6])
def test_work_is_linear_in_the_requests_that_are_open(late: int) -> None:
    """All requests are sent before the first one ends; the writes are seen at once, or after all ends."""

    def work(number: int) -> None:
        rows = [(at, number + at, 2 * number + at, 3 * number + at) for at in range(number)]
        done, left = run(rows, [late])
        assert (len(done), left) == (number, 0)

    assert is_linear(work, 80)


@pytest.mark.parametrize("change", [None, "created"])
@pytest.mark.parametrize("over", [False, True])
def test_work_is_linear_in_the_events_of_one_request(change: Change | None, over: bool) -> None:
    """What it writes or creates is missing until the end. ``over``: the tasks are queued after the request."""

    def work(number: int) -> None:
        observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
        trace = Trace(
            SentRequest("r1", "GET", "", ""), Expected(writes=(ExpectedWrite(str(LOG), TEXT, False, change=change),))
        )
        observer.watch(trace)
        observer.record(trace, Event(1, "client", "request_sent", "r1", {"sizes": {}}))
        observer.record(trace, Event(1, "client", "response_complete", "r1", {"sizes": {}}))

        async def stream() -> AsyncIterator[Appended]:
            lines = journal(0, "request_finished" if over else "request_received", "r1")
            yield Appended(0, JOURNAL, (1, 2), 0, lines)
            at = len(lines)
            for n in range(number):
                for name in ("task_queued", "task_started", "loop_blocked", "task_finished"):
                    lines = journal(n, name, "r1", task="app.write", n=n)
                    yield Appended(n, JOURNAL, (1, 2), at, lines)
                    at += len(lines)

        asyncio.run(observer.follow(stream()))  # type: ignore[arg-type]  # any iterator of items
        assert len(trace.events) == 4 * number + 3

    assert is_linear(work, 50)


def progress_of(*names: str, expected: Expected | None = None, text: bytes = b"") -> list[bool]:
    """Return for each event of a task, or "write" for ``text`` in `LOG`, whether it starts the limit of waits again."""
    observer = Observer([LOG], JOURNAL, "r[0-9]+", lambda _: None, has_all_sizes=True)
    trace = Trace(SentRequest("r1", "GET", "", ""), expected or Expected())
    observer.watch(trace)
    observer.record(trace, Event(1, "client", "request_sent", "r1", {"sizes": {}}))
    found: list[bool] = []

    async def stream() -> AsyncIterator[Appended]:
        sizes = {LOG: 0, JOURNAL: 0}
        for n, name in enumerate(names):
            observer.last_event_ns = 0
            path, data = (LOG, text) if name == "write" else (JOURNAL, journal(n, name, "r1", task="app.write", n=n))
            yield Appended(n, path, (1, 2), sizes[path], data)
            sizes[path] += len(data)
            found.append(observer.last_event_ns > 0)

    asyncio.run(observer.follow(stream()))  # type: ignore[arg-type]  # any iterator of items
    return found


def test_blocked_loop_and_queued_task_are_no_progress() -> None:
    names = ("request_received", "task_queued", "response_sent", "task_started", "loop_blocked", "task_finished")
    assert progress_of(*names) == [True, False, True, True, False, True]


def test_tasks_made_without_end_are_not_progress_for_ever() -> None:
    found = progress_of(*["task_queued"] * 2, "response_sent", *["task_queued", "task_started"] * (MAX_MOVES + 20))
    assert sum(found) == 1 + MAX_MOVES + 3 * 2
    assert sum(progress_of(*["task_queued", "task_started"] * (MAX_MOVES + 20))) == MAX_MOVES


def test_text_written_without_end_is_progress_until_it_is_met() -> None:
    expected = Expected(writes=(ExpectedWrite(str(LOG), "r1\n", True, count=2),))
    assert progress_of(*["write"] * 5, expected=expected, text=b"r1\n") == [True, True, False, False, False]
