"""The follower and the rotation of a journal, with the kernel's notifications and with polling."""
# ruff: noqa: ASYNC240  (the files are changed from inside the event loop on purpose)

import asyncio
import os
import random
import re
from collections import defaultdict
from pathlib import Path

import pytest

from fastbg.events import Appended, Notice
from fastbg.follow import watch as watch_module
from fastbg.follow.follower import Follower
from fastbg.recorder import journal as module
from fastbg.recorder import rotation
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.rotation import KEPT, numbers, part
from tests.follow.test_follower import held, run
from tests.support.journals import received

SIZE = 1000  # bytes, about 7 lines


@pytest.fixture(params=[False, True], ids=["kernel", "poll"])
def poll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(watch_module, "RECHECK_S", 3600.0)  # it would hide missing notifications
    return bool(request.param)


@pytest.fixture(autouse=True)
def _check_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_NS", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def follow(path: Path, *, poll: bool = False) -> Follower:
    return Follower([path], journals=[path], poll=poll)


def write(journal: Journal, *events: int) -> None:
    for number in events:
        journal.check()
        journal.write(received(str(number)))


class Reader:
    """Reads from a follower: collects the numbers of the events, and the notices."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._rest: defaultdict[tuple[int, int], bytes] = defaultdict(bytes)
        self.events: list[int] = []
        self.notices: list[Notice] = []

    async def take(self) -> None:
        item = await anext(self._follower)
        if isinstance(item, Notice):
            self.notices.append(item)
            return
        assert isinstance(item, Appended)
        *lines, self._rest[item.file] = (self._rest[item.file] + item.data).split(b"\n")
        for line in lines:
            event = read_journal_line(line)
            assert event is not None
            self.events.append(int(event.request_id or ""))

    async def until(self, count: int) -> list[int]:
        """Read until there are ``count`` events, and return them."""
        while len(self.events) < count:
            await self.take()
        return self.events


def test_rotation_loses_and_repeats_no_event(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal = Journal(path, SIZE)
        write(journal, 0)
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            for number in range(1, 40):
                write(journal, number)
                assert (await reader.until(number))[-1] == number
            assert reader.notices == []
            assert len(numbers(path)) == KEPT

    run(scenario())


def test_missed_rotations_are_read_in_order(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal = Journal(path, SIZE)
        write(journal, 0)
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            write(journal, *range(1, 30))
            assert len(numbers(path)) > 2
            assert await reader.until(29) == list(range(1, 30))
            write(journal, 30)
            assert (await reader.until(30))[-1] == 30
            assert reader.notices == []

    run(scenario())


def test_late_line_in_an_old_part_is_read(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal, idle = Journal(path, SIZE), Journal(path, SIZE)
        write(journal, 0)
        idle.check()
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            for number in range(1, 50):
                write(journal, number)
                await reader.until(number)
            assert numbers(path)[0] > 1  # also the part is deleted
            idle.write(received("50"))
            assert (await reader.until(50))[-1] == 50
            write(idle, 51)
            assert (await reader.until(51))[-1] == 51
            assert reader.notices == []

    run(scenario())


def test_parts_deleted_before_reading_are_reported(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal = Journal(path, SIZE)
        write(journal, 0)
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            write(journal, 1)
            await reader.until(1)
            write(journal, *range(2, 100))
            while reader.events[-1] != 99:
                await reader.take()
            first = next(n for n in reader.events if n - 1 not in reader.events and n > 1)
            assert reader.events == [*range(1, len(reader.events) - (100 - first) + 1), *range(first, 100)]
            (notice,) = reader.notices
            assert notice.kind == "skipped"
            skipped = int(re.findall(r"(\d+) parts", notice.message)[0])
            assert skipped == numbers(path)[0] - 2  # the first part was open

    run(scenario())


def test_journal_missing_during_a_rotation_is_followed(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal = Journal(path)
        write(journal, 0)
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            path.rename(part(path, 1))
            journal.write(received("1"))
            assert await reader.until(1) == [1]
            assert follower.all_read()
            write(journal, 2)
            assert await reader.until(2) == [1, 2]
            assert reader.notices == []

    run(scenario())


def test_rotated_journal_is_followed_from_its_end(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal, idle = Journal(path, SIZE), Journal(path, SIZE)
        idle.check()
        write(journal, *range(20))
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            idle.write(received("20"))
            assert await reader.until(1) == [20]
            write(journal, 21)
            assert await reader.until(2) == [20, 21]

    run(scenario())


def test_journal_that_appears_later_is_read_from_its_first_part(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            write(Journal(path, SIZE), *range(20))
            assert await reader.until(20) == list(range(20))
            assert {notice.kind for notice in reader.notices} == {"missing", "appeared"}

    run(scenario())


def test_journal_deleted_by_hand_is_replaced(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal = Journal(path, SIZE)
        write(journal, *range(20))
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            path.unlink()
            write(journal, 20)
            assert await reader.until(1) == [20]
            assert reader.notices[-1].kind in ("replaced", "appeared")

    run(scenario())


def test_empty_part_is_skipped(path: Path) -> None:
    async def scenario() -> None:
        write(Journal(path), 0)
        async with follow(path) as follower:
            path.rename(part(path, 1))
            part(path, 2).touch()
            path.touch()
            assert follower.all_read()
            write(Journal(path), 1)
            assert await Reader(follower).until(1) == [1]

    run(scenario())


def test_old_parts_are_closed(path: Path, poll: bool) -> None:
    async def scenario() -> None:
        journal, idle = Journal(path, SIZE), Journal(path, SIZE)
        write(journal, 0)
        idle.check()
        async with follow(path, poll=poll) as follower:
            reader = Reader(follower)
            write(journal, 1)
            await reader.until(1)
            before = held(path.parent)
            for number in range(2, 40):
                write(journal, number)
                await reader.until(number)
            write(idle, 40)
            await reader.until(40)
            for _ in range(3):  # a closed part is watched until the next check
                assert follower.all_read()
            assert held(path.parent) == before

    run(scenario())


def test_last_lines_include_older_parts_without_a_gap(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "KEPT", 1000)

    async def scenario() -> None:
        journal, idle = Journal(path, SIZE), Journal(path, SIZE)
        idle.check()
        write(journal, *range(20))
        async with follow(path) as follower:
            reader = Reader(follower)
            idle.write(received("20"))
            write(journal, *range(21, 40))
            for count in range(25):
                text = b"".join(data for _, data in follower.last_lines(path, count))
                events = [read_journal_line(line) for line in text.splitlines()]
                assert [event and event.request_id for event in events] == [*map(str, range(20))][20 - min(count, 20) :]
            assert sorted(await reader.until(20)) == list(range(20, 40))

    run(scenario())


@pytest.mark.parametrize("seed", range(10))
def test_every_event_is_read_once(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "KEPT", 1000)
    chance = random.Random(seed)

    async def scenario() -> None:
        writers = [Journal(path, chance.choice([200, 1000, 3000])) for _ in range(3)]
        for writer in writers:
            writer.check()
        count = 0
        async with follow(path, poll=chance.random() < 0.3) as follower:
            reader = Reader(follower)
            for _ in range(300):
                at = chance.randrange(len(writers))
                act = chance.random()
                if act < 0.6:
                    writers[at].write(received(str(count)))
                    count += 1
                elif act < 0.8:
                    writers[at].check()
                elif act < 0.83:  # it ends, and another one starts
                    os.close(writers[at]._fd)
                    writers[at] = Journal(path, 1000)
                    writers[at].check()
                elif act < 0.85 and path.exists():  # a rotation that was killed halfway
                    path.rename(part(path, max(numbers(path), default=0) + 1))
                elif act < 0.95:
                    await asyncio.sleep(0)
                elif not follower.all_read():
                    await reader.take()
            assert sorted(await reader.until(count)) == list(range(count))
            while not follower.all_read():
                await reader.take()
            assert len(reader.events) == count
            assert reader.notices == []
        for writer in writers:
            os.close(writer._fd)

    run(scenario())


def test_fast_writers_lose_no_events(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "KEPT", 10**6)
    each = 500

    async def scenario() -> None:
        async with follow(path) as follower:
            reader = Reader(follower)
            writers = []
            for first in range(0, 3 * each, each):
                if (pid := os.fork()) == 0:
                    try:
                        write(Journal(path, 3 * SIZE), *range(first, first + each))
                    finally:
                        os._exit(0)
                writers.append(pid)
            assert sorted(await reader.until(3 * each)) == list(range(3 * each))
            for pid in writers:
                os.waitpid(pid, 0)  # noqa: ASYNC222  # they have already written everything
            assert {notice.kind for notice in reader.notices} <= {"missing", "appeared"}

    run(scenario())
