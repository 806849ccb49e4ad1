"""The timeout that counts from the last event."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastbg.evidence.observer import READ_LIMIT_NS, Observer
from fastbg.run import progress_limit as module
from fastbg.run.progress_limit import progress_limit


class _Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when it has nothing else to do: it then jumps to the next timer."""

    now_ns = 10**12

    def time(self) -> float:
        return self.now_ns / 1e9

    def _run_once(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and scheduled:  # type: ignore[attr-defined]
            self.now_ns = max(self.now_ns, int(min(timer.when() for timer in scheduled) * 1e9) + 1)
        super()._run_once()  # type: ignore[misc]


class _Files(Observer):
    """An observer of files that are read until ``read_ns``."""

    def __init__(self) -> None:
        self.last_event_ns, self.read_ns = 0, 0
        self._follower = None

    def has_read_until(self, expired_ns: int) -> bool:
        now_ns = int(asyncio.get_running_loop().time() * 1e9)
        return now_ns >= self.read_ns or now_ns - expired_ns > READ_LIMIT_NS


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Clock]:
    loop = _Clock()
    monkeypatch.setattr(module, "monotonic_ns", lambda: loop.now_ns)
    try:
        yield loop
    finally:
        loop.close()


def ended_s(loop: _Clock, observer: _Files, seconds: float, *events: float) -> float:
    """Wait without end in the limit. Return after how many seconds it ended. ``events``: their seconds."""
    begin_ns = loop.now_ns

    def happen() -> None:
        observer.last_event_ns = loop.now_ns

    async def wait() -> None:
        for event_s in events:
            loop.call_later(event_s, happen)
        with pytest.raises(TimeoutError):
            async with progress_limit(observer, seconds):
                await asyncio.Event().wait()

    loop.run_until_complete(wait())
    return (loop.now_ns - begin_ns) / 1e9


def test_server_that_does_nothing_ends_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock(monkeypatch) as loop:
        assert ended_s(loop, _Files(), 10) == pytest.approx(10, abs=0.1)


def test_each_event_of_any_request_starts_the_limit_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock(monkeypatch) as loop:
        assert ended_s(loop, _Files(), 10, 6, 12, 21) == pytest.approx(31, abs=0.1)


def test_event_from_before_does_not_shorten_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock(monkeypatch) as loop:
        observer = _Files()
        observer.last_event_ns = loop.now_ns - 9 * 10**9
        assert ended_s(loop, observer, 10) == pytest.approx(10, abs=0.1)


def test_bytes_that_are_not_read_yet_count_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock(monkeypatch) as loop:
        observer = _Files()
        observer.read_ns = loop.now_ns + 13 * 10**9
        assert ended_s(loop, observer, 10) == pytest.approx(13, abs=0.1)
        observer.read_ns = loop.now_ns + 10**12
        assert ended_s(loop, observer, 10) == pytest.approx(10 + READ_LIMIT_NS / 1e9, abs=0.2)


def test_limit_that_is_not_needed_leaves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(observer: Observer) -> None:
        async with progress_limit(observer, 3600):
            pass

    with clock(monkeypatch) as loop:
        loop.run_until_complete(no_wait(_Files()))
        assert all(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]
