"""The follower: an asynchronous iterator over the bytes that are appended to a set of files."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fastbg.clock import monotonic_ns
from fastbg.events import Appended, Notice
from fastbg.follow.files import FollowedFile
from fastbg.follow.journal import FollowedJournal
from fastbg.follow.watch import PollWatcher, Watcher, choose_watcher

TURN_NS = 1_000_000  # after this time without a pause the iterator yields to the event loop


class Follower:
    """Follows ``paths``. An asynchronous context manager, and an iterator over appended bytes and notices.

    ``start``: ``"end"`` skips the content that the files have on entry, ``"begin"`` yields it first. A file that
    appears later is read from its first byte. ``poll``: poll every 40 ms, without the kernel's notifications.
    ``journals``: those of ``paths`` that are journals; all their parts are read (`FollowedJournal`).

    After entry every appended byte is yielded exactly once, in the order of its file, in pieces of at most 64 KiB. A
    file with many new bytes does not delay the others. Bytes are read only when the consumer takes the next item; until
    then only their time is stored. One file per path is kept open: if several files replace each other before the
    consumer continues, the first and the last one are read.

    One consumer at a time. The iterator ends with the ``async with`` block.

    ```python
    async with Follower([Path("log.txt")]) as follower:
        async for seen in follower:
            ...
    ```
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        journals: Sequence[Path] = (),
        start: Literal["end", "begin"] = "end",
        poll: bool = False,
    ) -> None:
        self._files = {path: FollowedJournal(path) if path in journals else FollowedFile(path) for path in paths}
        self._start = start
        self._poll = poll
        self._watcher: Watcher | None = None
        self._ready: deque[FollowedFile] = deque()
        self._notices: deque[Notice] = deque()
        self._woken = asyncio.Event()
        self._turn_began_ns = 0

    async def __aenter__(self) -> Self:
        self._watcher, reason = choose_watcher(self._on_change, poll=self._poll)
        t_ns = monotonic_ns()
        if reason is not None:
            self._add_polling_notice(t_ns, reason)
        for path, file in self._files.items():
            self._watch(t_ns, path)
            file.begin(t_ns, at_end=self._start == "end")
            if file.needs_watch:
                self._on_change(t_ns, path, True)
            self._queue(file)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        for file in self._files.values():
            file.close()
        self._ready.clear()
        self._woken.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Appended | Notice:
        if monotonic_ns() - self._turn_began_ns > TURN_NS:
            await asyncio.sleep(0)
            self._turn_began_ns = monotonic_ns()
        while self._watcher is not None:
            if self._notices:
                return self._notices.popleft()
            while self._ready:
                file = self._ready.popleft()
                item = file.take()
                if file.needs_watch:
                    self._on_change(monotonic_ns(), file.path, True)
                self._queue(file)
                if item is not None:
                    return item
            self._woken.clear()
            await self._woken.wait()
            self._turn_began_ns = monotonic_ns()
        raise StopAsyncIteration

    def last_lines(self, path: Path, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield the last ``count`` lines of ``path`` before the iterator's next byte, as ``(offset, bytes)``.

        They come from the open file, so that no byte between them and the iterator is missing. A missing file has none.
        """
        return self._files[path].last_lines(count)

    def all_read(self) -> bool:
        """Check all files now, and return whether the iterator has yielded their whole content."""
        return all(self.is_read(path) for path in self._files)

    def is_read(self, path: Path) -> bool:
        """Check a file now, and return whether the iterator has yielded its whole content."""
        if self._watcher is not None:
            self._on_change(monotonic_ns(), path, True)
        return not self._files[path].pending

    def _on_change(self, t_ns: int, path: Path, moved: bool) -> None:
        file = self._files[path]
        if moved:
            self._watch(t_ns, path)
            file.refresh(t_ns)
            while file.needs_watch:
                self._watch(t_ns, path)
                file.measure(t_ns)
        else:
            file.measure(t_ns)
        self._queue(file)

    def _queue(self, file: FollowedFile) -> None:
        if file.pending and file not in self._ready:
            self._ready.append(file)
            self._woken.set()

    def _watch(self, t_ns: int, path: Path) -> None:
        file = self._files[path]
        file.needs_watch = False
        if self._watcher is None:
            return
        try:
            self._watcher.watch(path, file.old_descriptors)
        except OSError as error:
            self._watcher.close()
            self._watcher = PollWatcher(self._on_change)
            for each in self._files:
                self._watcher.watch(each)
            self._add_polling_notice(t_ns, str(error.strerror))

    def _add_polling_notice(self, t_ns: int, reason: str) -> None:
        message = f"no file notifications from the kernel ({reason}): polling every 40 ms"
        self._notices.append(Notice(t_ns, next(iter(self._files)), "polling", message))
        self._woken.set()
