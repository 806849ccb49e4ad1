"""A followed journal: a `FollowedFile` that reads all parts of a rotated journal in order. Synchronous."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType

from fastbg.errors import FollowError
from fastbg.events import Appended, Notice
from fastbg.follow.files import FileId, FollowedFile, file_at, open_file
from fastbg.follow.lines import last_lines_of
from fastbg.recorder.rotation import is_sealed, numbers, part


class FollowedJournal(FollowedFile):
    """The journal ``path``, read part by part.

    A renamed part is read to its end, then the next one. While a process has the old part open, it may append more
    lines: the part stays open and is read together with the next ones. A rotation creates no notice, except for parts
    that were deleted before they were read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._number = 0  # of the open part if `_numbered`, else of the part before it
        self._numbered = False
        self._old_parts: list[FollowedFile] = []  # to which other processes may still append

    @property
    def pending(self) -> bool:
        return super().pending or any(old_part.pending for old_part in self._old_parts)

    @property
    def old_descriptors(self) -> list[int]:
        opened = [self._open, *(old_part._open for old_part in self._old_parts)]
        return [each.descriptor for each in opened if each is not None]

    def begin(self, t_ns: int, *, at_end: bool) -> None:
        if at_end:
            for number in numbers(self.path):
                old_part = FollowedFile(part(self.path, number))
                old_part.begin(t_ns, at_end=True)
                if old_part._open is not None:
                    old_part.path = self.path
                    self._old_parts.append(old_part)
                self._number = number
            self._close_finished_parts(t_ns)
            self.needs_watch = True
        super().begin(t_ns, at_end=at_end)

    def last_lines(self, count: int) -> Iterator[tuple[int, bytes]]:
        if self._open is None:
            return iter(())
        ends = {opened.file: opened.offset for each in self._old_parts if (opened := each._open) is not None}
        return last_lines_of_journal(self.path, self._open.descriptor, self._open.offset, count, ends)

    def refresh(self, t_ns: int) -> None:
        super().refresh(t_ns)
        while self._outdated and not self._items:
            super().refresh(t_ns)
        self._close_finished_parts(t_ns)

    def measure(self, t_ns: int) -> None:
        super().measure(t_ns)
        for old_part in self._old_parts:
            old_part.measure(t_ns)

    def take(self) -> Appended | Notice | None:
        for old_part in self._old_parts:
            if item := old_part.take():
                return item
        return super().take()

    def close(self) -> None:
        super().close()
        for old_part in self._old_parts:
            old_part.close()
        self._old_parts.clear()

    def _find(self) -> FileId:
        try:
            return file_at(self.path)
        except FileNotFoundError:
            if self._open is None or (number := number_of(self.path, self._open.file)) is None:
                raise
            # A rotation is in progress, or its process was killed.
            newer = [each for each in numbers(self.path) if each > number]
            return file_at(part(self.path, newer[0])) if newer else self._open.file

    def _change_file(self, t_ns: int) -> None:
        before, deleted, read = self._open, False, 0
        if before is not None:
            renamed = number_of(self.path, before.file)
            deleted = renamed is None
            read = int(deleted and not self._numbered)
            self._number = renamed or self._number
        descriptor, number = open_after(self.path, self._number)
        if before is None:
            self._add_notice(t_ns, "appeared", "exists now")
        else:
            old_part = FollowedFile(self.path)
            old_part._open = before
            self._old_parts.append(old_part)
        if number is None:
            if deleted:
                self._add_notice(t_ns, "replaced", "was replaced by another file")
        else:
            skipped = number - self._number - 1 - read
            if skipped > 0:
                were = "part was deleted before it was" if skipped == 1 else "parts were deleted before they were"
                self._add_notice(t_ns, "skipped", f"has lost events: {skipped} {were} read")
            self._number = number
            self._outdated = True  # a newer part follows
        self._numbered = number is not None
        self.needs_watch = True
        self._use_descriptor(descriptor, t_ns)

    def _close_finished_parts(self, t_ns: int) -> None:
        """Close the old parts that are completely read and that no process can append to."""
        for old_part in list(self._old_parts):
            opened = old_part._open
            sealed = opened is None or is_sealed(opened.descriptor)
            old_part.measure(t_ns)  # after `is_sealed`: lines written before it are measured
            if sealed and not old_part.pending:
                old_part.close()
                self._old_parts.remove(old_part)


def number_of(journal: Path, file: FileId) -> int | None:
    """Return the number of the part with this id, None if no part has it."""
    for number in reversed(numbers(journal)):
        with suppress(FileNotFoundError, FollowError):
            if file_at(part(journal, number)) == file:
                return number
    return None


def open_after(journal: Path, number: int) -> tuple[int, int | None]:
    """Open the part after ``number``. Return its descriptor, and its number if it was already renamed.

    Raises `FileNotFoundError` if no part follows, and `FollowError`.
    """
    while True:
        # Opened before the parts are listed: all older parts then have their numbers.
        try:
            youngest = open_file(journal)
        except FileNotFoundError:
            youngest = None
        newer = [each for each in numbers(journal) if each > number]
        if not newer:
            if youngest is None:
                raise FileNotFoundError(journal)
            return youngest, None
        if youngest is not None:
            os.close(youngest)
        with suppress(FileNotFoundError):  # deleted after `numbers`
            return open_file(part(journal, newer[0])), newer[0]


def last_lines_of_journal(
    journal: Path, descriptor: int, end: int, count: int, ends: Mapping[FileId, int] = MappingProxyType({})
) -> Iterator[tuple[int, bytes]]:
    """Yield the last ``count`` lines before the offset ``end`` of an open part, and of older parts.

    Each item is ``(offset, bytes)``. ``ends``: the end offsets of older parts that are not read to their end.
    """
    with ExitStack() as stack:

        def youngest_first() -> Iterator[tuple[int, int]]:
            yield descriptor, end
            found = []
            for number in numbers(journal):
                with suppress(FileNotFoundError, FollowError):
                    older = open_file(part(journal, number))
                    stack.callback(os.close, older)
                    status = os.fstat(older)
                    if os.path.samestat(status, os.fstat(descriptor)):
                        break
                    found.append((older, ends.get((status.st_dev, status.st_ino), status.st_size)))
            yield from reversed(found)

        yield from last_lines_of(youngest_first(), count)
