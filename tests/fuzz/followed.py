"""Random changes of a followed file, and a model of the follower's output.

The written bytes are parts of a sequence with a long period, so that each text can be identified.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hypothesis import strategies as st

from fastbg.events import Appended, Notice

Step = tuple[str, int]

APPENDING = ("append", "append", "append", "rotate", "append to the rotated file")
EVERYTHING = (*APPENDING, "truncate", "rewrite", "replace", "delete", "bring back", "folder", "no folder")
SIZES = st.sampled_from([0, 1, 5, 63, 64, 65, 200, 5000, 70_000, 140_000])
RESTARTS = ("truncated", "replaced", "appeared")


def steps(kinds: tuple[str, ...]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.sampled_from(kinds), SIZES), max_size=12)


class ChangingFile:
    """A file at ``path`` that changes step by step. ``appended``: all written bytes in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.appended = bytearray()
        self._rotated: list[Path] = []
        self._numbers: Iterator[int] = count()

    def apply(self, step: Step) -> None:
        """Apply one step. An impossible step does nothing."""
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
            case "append to the rotated file" if self._rotated and not self.path.exists():
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


class FollowerOutput:
    """The output of a follower. ``data``: all bytes, also from before the last truncation or replacement."""

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
            assert self.file is None or item.offset == 0, "another file starts at offset 0"
            self._offset, self._since = item.offset, bytearray()
        self.file = item.file
        assert item.data
        assert item.offset == self._offset + len(self._since), "no gap and no duplicate"
        self._since += item.data
        self.data += item.data

    def is_complete(self, path: Path, begin: int) -> bool:
        """Whether the output has the whole file at ``path``, or from ``begin`` on if the file was not replaced."""
        content = path.read_bytes()
        status = path.stat()
        if self.file != (status.st_dev, status.st_ino):
            return not content[begin:]
        return self._offset is not None and bytes(self._since) == content[self._offset :]
