"""What becomes of a followed file, at random, with a model of what a follower has to tell of it.

Every byte that is written is one of a sequence that does not repeat soon, so that no text can be taken for another.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hypothesis import strategies as st

from fastbg.events import Appended, Notice

Step = tuple[str, int]

APPENDING = ("append", "append", "append", "rotate", "append to the rotated one")
EVERYTHING = (*APPENDING, "truncate", "rewrite", "replace", "delete", "bring back", "folder", "no folder")
SIZES = st.sampled_from([0, 1, 5, 63, 64, 65, 200, 5000, 70_000, 140_000])
RESTARTS = ("truncated", "replaced", "appeared")


def steps(kinds: tuple[str, ...]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.sampled_from(kinds), SIZES), max_size=12)


class Stage:
    """A file at ``path`` and what is done with it; ``appended``: all that was ever written, in that order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.appended = bytearray()
        self._rotated: list[Path] = []
        self._numbers: Iterator[int] = count()

    def act(self, step: Step) -> None:
        """Do one step; one that is impossible now does nothing."""
        kind, size = step
        there = self.path.is_file()
        match kind:
            case "append" if not self.path.is_dir():
                self._write(self.path, size, "ab")
            case "rewrite" if there:
                self._write(self.path, size, "wb")
            case "truncate" if there:
                os.truncate(self.path, self.path.stat().st_size * (size % 100) // 100)
            case "rotate" if there:
                self._rotated.append(self.path.with_name(f"{self.path.name}.{len(self._rotated)}"))
                self.path.rename(self._rotated[-1])
            case "append to the rotated one" if self._rotated and not self.path.exists():
                self._write(self._rotated[-1], size, "ab")
            case "bring back" if self._rotated and not self.path.exists():
                self._rotated.pop().rename(self.path)
            case "replace" if not self.path.is_dir():
                other = self.path.with_name("new")
                self._write(other, size, "wb")
                other.rename(self.path)
            case "delete" if there:
                self.path.unlink()
            case "folder" if not self.path.exists():
                self.path.mkdir()
            case "no folder" if self.path.is_dir():
                self.path.rmdir()

    def _write(self, path: Path, size: int, mode: str) -> None:
        data = b"".join(b"%07d\n" % next(self._numbers) for _ in range(size // 8 + 1))[:size]
        with path.open(mode) as file:
            file.write(data)
        self.appended += data


class Account:
    """What a follower told: ``data`` all in all, and since the file last began again from ``offset`` on."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.file: tuple[int, int] | None = None
        self._offset: int | None = None
        self._since = bytearray()

    def take(self, item: Appended | Notice) -> None:
        if isinstance(item, Notice):
            if item.kind in ("truncated", "replaced"):
                self._offset, self._since = 0, bytearray()
            return
        if self._offset is None or item.file != self.file:
            assert self.file is None or item.offset == 0, "another file begins at its begin"
            self._offset, self._since = item.offset, bytearray()
        self.file = item.file
        assert item.data
        assert item.offset == self._offset + len(self._since), "no gap, and nothing twice"
        self._since += item.data
        self.data += item.data

    def is_complete(self, path: Path, begin: int) -> bool:
        """Whether all of the file at ``path`` was told, from ``begin`` on where it has not begun again."""
        content = path.read_bytes()
        status = path.stat()
        if self.file != (status.st_dev, status.st_ino):
            return not content[begin:]
        return self._offset is not None and bytes(self._since) == content[self._offset :]
