"""Looks again at the files of a request whose expected writes were not seen.

A follower sees what is appended to a file. It does not see a text that somebody writes over another one: in a file that
is opened with mode "w" between two looks, in a database, or through a memory map. So no write counts as missing before
its file was searched again.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from fastbg.clock import monotonic_ns
from fastbg.errors import FollowError
from fastbg.events import FILE_SEEN, Appended, Event
from fastbg.evidence.attribution import Attribution
from fastbg.evidence.existence import find_changes, was_seen
from fastbg.evidence.trace import Disturbance, ExpectedWrite, Trace
from fastbg.follow.files import modified_ns, open_file
from fastbg.recorder.files import sizes_of

MAX_BYTES = 64 * 2**20  # of a file that is searched again
CHUNK = 2**20  # bytes; the event loop continues between two of them: one takes less than a millisecond
HEAD = 8000  # bytes in which git, too, looks for a zero byte to find out whether a file is binary
TICK_NS = 20_000_000  # an older kernel's modification times may be the same for all changes within this time


@dataclass(frozen=True, slots=True)
class _Before:
    """A file when the request was sent. ``recent``: a later change may have the same modification time."""

    size: int
    modified_ns: int
    recent: bool


class SecondLook:
    """Searches files again, and adds what it finds to the traces. ``attribution``: has the expected texts."""

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution
        self._before: dict[str, dict[str, _Before]] = {}  # by request id and file

    def sent(self, trace: Trace) -> None:
        """Remember the files of ``trace``, which is being sent."""
        before = self._before[trace.request_id] = {}
        for file in trace.expected.files:
            try:
                status = os.stat(file)  # noqa: PTH116  # half the time of Path.stat
            except OSError:
                continue
            now_ns = monotonic_ns()
            at_ns = modified_ns(status, now_ns)
            recent = at_ns is None or now_ns - at_ns < TICK_NS
            before[file] = _Before(status.st_size, status.st_mtime_ns, recent)

    def remove(self, trace: Trace) -> None:
        self._before.pop(trace.request_id, None)

    async def look(self, trace: Trace) -> dict[str, Disturbance]:
        """Search the missing writes of ``trace``. Return the files with texts that were not appended, and how."""
        happened: dict[str, Disturbance] = {}
        for file in dict.fromkeys(expected.file for expected in (*trace.missing, *trace.unread)):
            _look_for_change(trace, file)
            try:
                descriptor = open_file(Path(file))
            except FollowError:
                continue
            except FileNotFoundError:
                _doubt_deleted(trace, file)
                continue
            try:
                before = self._before.get(trace.request_id, {}).get(file)
                search = _Search(self._attribution, trace, file, descriptor, before)
                await search.run()
            finally:
                os.close(descriptor)
            self._attribution.stop_reading(trace, file)
            if search.how is not None:
                happened[file] = search.how
        return happened


def _look_for_change(trace: Trace, file: str) -> None:
    wanted = [expected for expected in trace.missing if expected.file == file and expected.change is not None]
    if not wanted:
        return
    detail = {"file": file, "exists": bool(sizes_of([file])), "replaced": False}
    trace.events.append(Event(monotonic_ns(), "file", FILE_SEEN, trace.request_id, detail))
    find_changes(trace)
    for expected in wanted:
        unseen = expected.change == "deleted" and not was_seen(trace, file)
        expected.doubt = f"{expected.name} was never seen, so nothing shows that it was deleted" if unseen else None


def _doubt_deleted(trace: Trace, file: str) -> None:
    for expected in trace.missing:
        if expected.file == file and expected.change is None and was_seen(trace, file):
            expected.doubt = f"{expected.name} does not exist any more, so it cannot be searched"


class _Search:
    """Searches the missing texts of ``trace`` in an open ``file``.

    ``how``: what must have happened to the file if a text is in it that was not appended.
    """

    def __init__(
        self, attribution: Attribution, trace: Trace, file: str, descriptor: int, before: _Before | None
    ) -> None:
        self.how: Disturbance | None = None
        self._attribution = attribution
        self._trace = trace
        self._file = file
        self._descriptor = descriptor
        self._before = before
        self._status = os.fstat(descriptor)
        self._modified = before is None or before.modified_ns != self._status.st_mtime_ns
        self._is_binary = b"\0" in self._read(0, HEAD)  # a database, where requests write beside each other
        self._other = attribution.last_of_another(trace, file)
        self._old: set[str] = set()  # texts without an id that may be older than the request
        self._shared: set[str] = set()  # texts without an id that may be the write of another request

    async def run(self) -> None:
        trace, disturbed = self._trace, self._trace.witnesses.disturbed
        identity = self._status.st_dev, self._status.st_ino
        for start in range(0, min(self._status.st_size, MAX_BYTES), CHUNK):
            data = self._read(start, CHUNK + self._attribution.max_bytes)
            now_ns = monotonic_ns()
            item = Appended(now_ns, Path(self._file), identity, start, data, read_ns=now_ns)
            read_to = self._attribution.position(self._file, trace)
            writes = self._attribution.found_again(trace, item, self._is_new)
            if any(write.offset < read_to for write in writes) or (writes and self._is_binary):
                self.how = "changed in place" if self._is_binary else "rewritten"
                disturbed.setdefault(self._file, self.how)  # now: others may judge the request before the search ends
            await asyncio.sleep(0)
        for expected in trace.missing:
            if expected.file == self._file and expected.change is None:
                expected.overwritten = expected.text in self._shared or self._is_overwritten()
                if not expected.overwritten and expected.shared and self._is_only_of_another():
                    expected.overwritten, self.how = True, "rewritten"
                expected.doubt = self._doubt(expected)

    def _is_new(self, expected: ExpectedWrite, offset: int, length: int) -> bool:
        """Return whether a text without an id must have been written by this request, after it was sent."""
        whole = self._modified and (offset, length) == (0, self._status.st_size)
        if not whole and not self._is_rewritten():
            if self._modified or (self._before is not None and self._before.recent):
                self._old.add(expected.text)
            return False
        if self._other is not None and self._other.offset == offset:
            self._shared.add(expected.text)
            return False
        return True

    def _is_rewritten(self) -> bool:
        return not self._is_binary and self._trace.witnesses.disturbed.get(self._file) in ("rewritten", "replaced")

    def _is_overwritten(self) -> bool:
        """Return whether the file has a text of another request in place of the missing one."""
        other = self._other
        if other is None or not self._is_rewritten():
            return False
        return self._read(other.offset, other.length).decode("utf-8", "replace") == other.text

    def _is_only_of_another(self) -> bool:
        """Return whether the file, which was empty, has nothing but a text of another request.

        Two requests that rewrite a new file before the follower reads it for the first time leave no other trace.
        """
        other, was_empty = self._other, self._before is None or not self._before.size
        return other is not None and was_empty and (other.offset, other.length) == (0, self._status.st_size)

    def _doubt(self, expected: ExpectedWrite) -> str | None:
        """Return why ``expected`` may have been written although it was not found."""
        name, limit = expected.name, f"{MAX_BYTES // 2**20} MiB"
        if self._status.st_size > MAX_BYTES:
            return f"{name} is longer than {limit}, and only its first {limit} were searched"
        if expected.text in self._old:
            return f"{expected.description} is in {name}, but may be older than the request: put ${{mark}} into it"
        same_size = self._before is not None and self._before.size == self._status.st_size
        if same_size and self._status.st_size and self._modified and not self._is_rewritten():
            return f"{name} was changed in place, so its appended bytes do not show what was written"
        return None

    def _read(self, start: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, start)
        except OSError:
            return b""
