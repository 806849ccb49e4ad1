"""How far a live page is behind: what it was sent, and how late the journal was read."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastbg.events import boot_id
from fastbg.page import live
from fastbg.page.progress import IDLE_NS, PageProgress, ReadingDelay
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.report import moments
from fastbg.report.lines import Entry
from tests.support.recordings import MS, TASK, line, received, sent

SECOND = 10**9
Message = dict[str, Any]


def test_events_of_before_the_start_are_not_late() -> None:
    delay = ReadingDelay(100 * SECOND)
    delay.add(5 * SECOND, 101 * SECOND)
    assert delay.at(101 * SECOND) == 0
    delay.add(101 * SECOND, 103 * SECOND)
    assert delay.at(103 * SECOND) == 2 * SECOND
    assert delay.at(103 * SECOND + IDLE_NS) == 0, "if nothing was read for so long, nothing waits"


def test_page_has_all_until_a_time_when_it_has_its_last_change() -> None:
    progress = PageProgress(shown_ns=0, version=1000, until_ns=10 * SECOND)
    progress.sent(500, is_all=False, latest=1500, read_ns=11 * SECOND)
    assert progress.behind_ms(11 * SECOND) == 11_000
    progress.sent(1000, is_all=False, latest=2000, read_ns=12 * SECOND)
    assert progress.behind_ms(12 * SECOND) == 2000
    progress.sent(1500, is_all=False, latest=2100, read_ns=13 * SECOND)
    assert progress.behind_ms(13 * SECOND) == 3000
    progress.sent(2100, is_all=True, latest=2100, read_ns=13 * SECOND)
    assert progress.behind_ms(13 * SECOND + 999 * MS) == 0
    assert progress.behind_ms(14 * SECOND) == 1000


class Clock:
    """The monotonic clock of a feed, which goes on only when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1000 * SECOND
        monkeypatch.setattr(live, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(live, "BATCH_S", 0.0)
        monkeypatch.setattr(live, "QUIET_S", float("inf"))


def read(feed: live.LiveFeed, *lines: bytes) -> None:
    for each in b"".join(lines).splitlines():
        event = read_journal_line(each)
        assert event is not None
        feed.event(Entry(Path("journal.jsonl"), event), last=False)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def taken(runner: asyncio.Runner, messages: AsyncIterator[bytes]) -> Message:
    """Return the next message of a feed."""

    async def take() -> bytes:
        return await anext(messages)

    found: Message = json.loads(runner.run(take()).removeprefix(b"data: "))
    return found


def test_message_says_how_late_the_journal_was_read(monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
    clock = Clock(monkeypatch)
    feed = live.LiveFeed()
    clock.now_ns += 7 * SECOND
    read(feed, received(1_002_000, boot=boot_id()))
    messages = feed.messages()
    assert taken(runner, messages)["behind"] == 5000
    clock.now_ns += IDLE_NS
    message = taken(runner, messages)
    assert ("behind" in message, message["rows"]) == (False, []), "that all is read now is news too"


def test_step_of_the_wall_clock_makes_no_page_late(monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
    """The page compares the time of a message with those of the others, and with the start of what runs."""
    Clock(monkeypatch)
    feed = live.LiveFeed()
    messages = feed.messages()
    for request, wall_ns in (("r1", 10**18), ("r2", 10**18 - 3600 * SECOND)):
        monkeypatch.setattr(moments, "time_ns", lambda wall_ns=wall_ns: wall_ns)
        read(feed, received(999_000, request, boot=boot_id()))
        message = taken(runner, messages)
        assert message["now"] == 1_000_000
        assert [row[13][2] for row in message["rows"]] == [999_000]


def test_page_that_is_behind_gets_last_states_only(monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(live, "MAX_BATCH", 10)
    feed = live.LiveFeed()
    for number in range(30):
        read(feed, received(2000, f"r{number}", boot=boot_id()))
    messages = feed.messages()
    assert len(taken(runner, messages)["rows"]) == 10
    for number in range(30):  # the page is slow: each of them changes three times meanwhile
        about: Message = {"request": f"r{number}", "boot": boot_id()}
        read(feed, line(2001, "task_queued", **about, **TASK), sent(2002, **about))
        read(feed, line(2003, "task_started", **about, **TASK, where="loop"))
    clock.now_ns += 2 * SECOND
    rows: list[tuple[int, str]] = []
    behind = []
    while len(rows) < 30:
        message = taken(runner, messages)
        rows += [(int(row[0]), message["texts"][row[13][0]]) for row in message["rows"]]
        behind.append(message.get("behind"))
    assert rows == [(number, "shop.mail runs in the event loop") for number in range(1, 31)]
    assert behind == [2000, 2000, None], "with the last message the page has all"
