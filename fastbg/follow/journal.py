"""A followed journal: its parts are one stream, across every rotation. Synchronous."""

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
    """What is written to the journal ``path``, part after part.

    A part that was renamed is read to its end, then the next one. As long as a process has it open, more may come to
    it: it is kept, and read beside the next ones. A rotation is no news: no notice tells of it, but of parts that were
    deleted before they could be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._number = 0  # of the open part, if it is known, or of the one before it
        self._numbered = False  # which of these
        self._late: list[FollowedFile] = []

    @property
    def pending(self) -> bool:
        return super().pending or any(late.pending for late in self._late)

    @property
    def old(self) -> list[int]:
        opened = [self._open, *(late._open for late in self._late)]
        return [each.descriptor for each in opened if each is not None]

    def begin(self, t_ns: int, *, at_end: bool) -> None:
        if at_end:
            for number in numbers(self.path):
                late = FollowedFile(part(self.path, number))
                late.begin(t_ns, at_end=True)
                if late._open is not None:
                    late.path = self.path
                    self._late.append(late)
                self._number = number
            self._release(t_ns)
            self.unwatched = True
        super().begin(t_ns, at_end=at_end)

    def last_lines(self, count: int) -> Iterator[tuple[int, bytes]]:
        if self._open is None:
            return iter(())
        ends = {late.file: late.offset for each in self._late if (late := each._open) is not None}
        return last_lines_of_journal(self.path, self._open.descriptor, self._open.offset, count, ends)

    def look(self, t_ns: int) -> None:
        super().look(t_ns)
        while self._outdated and not self._items:
            super().look(t_ns)
        self._release(t_ns)

    def measure(self, t_ns: int) -> None:
        super().measure(t_ns)
        for late in self._late:
            late.measure(t_ns)

    def take(self) -> Appended | Notice | None:
        for late in self._late:
            if item := late.take():
                return item
        return super().take()

    def close(self) -> None:
        super().close()
        for late in self._late:
            late.close()
        self._late.clear()

    def _find(self) -> FileId:
        try:
            return file_at(self.path)
        except FileNotFoundError:
            if self._open is None or (number := number_of(self.path, self._open.file)) is None:
                raise
            # A rotation is under way, or was killed.
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
            self._note(t_ns, "appeared", "is there now")
        else:
            late = FollowedFile(self.path)
            late._open = before
            self._late.append(late)
        if number is None:
            if deleted:
                self._note(t_ns, "replaced", "is another file now")
        else:
            skipped = number - self._number - 1 - read
            if skipped > 0:
                were = "part of it was" if skipped == 1 else "parts of it were"
                self._note(t_ns, "skipped", f"has lost events: {skipped} {were} deleted before anybody read them")
            self._number = number
            self._outdated = True  # there is another one behind it
        self._numbered = number is not None
        self.unwatched = True
        self._begin_with(descriptor, t_ns)

    def _release(self, t_ns: int) -> None:
        """Close those of the old parts that nothing more comes to, when all of it was read."""
        for late in list(self._late):
            opened = late._open
            sealed = opened is None or is_sealed(opened.descriptor)
            late.measure(t_ns)  # after that
            if sealed and not late.pending:
                late.close()
                self._late.remove(late)


def number_of(journal: Path, file: FileId) -> int | None:
    """The number of the part that ``file`` is, if it is one."""
    for number in reversed(numbers(journal)):
        with suppress(FileNotFoundError, FollowError):
            if file_at(part(journal, number)) == file:
                return number
    return None


def open_after(journal: Path, number: int) -> tuple[int, int | None]:
    """A descriptor of what comes after the part ``number``, and its number if it was renamed already.

    Raises `FileNotFoundError` where there is nothing, and `FollowError`.
    """
    while True:
        # Opened before the parts are looked for: what is older than it has its number by then.
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
        with suppress(FileNotFoundError):  # deleted since
            return open_file(part(journal, newer[0])), newer[0]


def last_lines_of_journal(
    journal: Path, descriptor: int, end: int, count: int, ends: Mapping[FileId, int] = MappingProxyType({})
) -> Iterator[tuple[int, bytes]]:
    """The last ``count`` lines before the offset ``end`` of an open part and in older ones, as ``(offset, bytes)``.

    ``ends``: where to end in those of the older ones that are not to be read to their end.
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
