"""The follower: what comes to a set of files, as an asynchronous iterator."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fastbg.events import Appended, Notice
from fastbg.follow.files import FollowedFile
from fastbg.follow.journal import FollowedJournal
from fastbg.follow.watch import PollWatcher, Watcher, choose_watcher

TURN_NS = 1_000_000  # after so long without a pause the rest of the event loop has its turn


class Follower:
    """Follows ``paths``: an asynchronous context manager, and an iterator over what comes.

    ``start``: ``"end"`` leaves out what the files hold on entry, ``"begin"`` gives it first. A file that
    appears later is read from its first byte. ``poll``: look every 40 ms even where the kernel notifies.

    After entry every byte that is appended is given exactly once, in the order of its file, in pieces of
    at most 64 KiB; a file with much to read does not hold up the others. Nothing is read before the
    consumer asks for it. Meanwhile the time at which bytes were seen is kept, not the bytes, and one file is kept open
    for each path: of several that replace each other while the consumer is behind, the first and the last are read.

    ``journals``: those of ``paths`` that are journals, whose parts are read on across rotations (`FollowedJournal`).

    One consumer at a time. The iterator ends when the follower is left.

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
        self._watcher, trouble = choose_watcher(self._on_change, poll=self._poll)
        t_ns = time.monotonic_ns()
        if trouble is not None:
            self._note_polling(t_ns, trouble)
        for path, file in self._files.items():
            self._watch(t_ns, path)
            file.begin(t_ns, at_end=self._start == "end")
            if file.unwatched:
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
        if time.monotonic_ns() - self._turn_began_ns > TURN_NS:
            await asyncio.sleep(0)
            self._turn_began_ns = time.monotonic_ns()
        while self._watcher is not None:
            if self._notices:
                return self._notices.popleft()
            while self._ready:
                file = self._ready.popleft()
                item = file.take()
                if file.unwatched:
                    self._on_change(time.monotonic_ns(), file.path, True)
                self._queue(file)
                if item is not None:
                    return item
            self._woken.clear()
            await self._woken.wait()
            self._turn_began_ns = time.monotonic_ns()
        raise StopAsyncIteration

    def last_lines(self, path: Path, count: int) -> Iterator[tuple[int, bytes]]:
        """The last ``count`` lines before what the iterator gives next of ``path``, as ``(offset, bytes)``.

        Read from the very file that is followed, so that both meet without a gap. Nothing without a file.
        """
        return self._files[path].last_lines(count)

    def all_given(self) -> bool:
        """Look now: whether the iterator has given all that stands in the files."""
        t_ns = time.monotonic_ns()
        for path in self._files if self._watcher is not None else ():
            self._on_change(t_ns, path, True)
        return not any(file.pending for file in self._files.values())

    def _on_change(self, t_ns: int, path: Path, moved: bool) -> None:
        file = self._files[path]
        if moved:
            self._watch(t_ns, path)
            file.look(t_ns)
            while file.unwatched:
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
        file.unwatched = False
        if self._watcher is None:
            return
        try:
            self._watcher.watch(path, file.old)
        except OSError as error:
            self._watcher.close()
            self._watcher = PollWatcher(self._on_change)
            for each in self._files:
                self._watcher.watch(each)
            self._note_polling(t_ns, str(error.strerror))

    def _note_polling(self, t_ns: int, why: str) -> None:
        message = f"the kernel gives no notifications ({why}): looking every 40 ms instead"
        self._notices.append(Notice(t_ns, next(iter(self._files)), "polling", message))
        self._woken.set()
