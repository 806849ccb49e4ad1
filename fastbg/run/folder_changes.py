"""Finds the texts that are added to files in a folder, without knowing which files. It looks only when it is asked."""

import os
from collections.abc import Iterator
from pathlib import Path

MAX_ENTRIES = 20_000  # files and folders; a larger folder is searched in part
MAX_TEXT = 65_536  # bytes of one addition

_SKIPPED = ("__pycache__", "node_modules")


class FolderChanges:
    """The text files below ``folder``. Hidden ones, virtual environments and ``without`` are skipped."""

    def __init__(self, folder: Path, without: Path) -> None:
        self._folder = folder
        self._without = without
        self._known = dict(self._files())

    def added(self) -> list[tuple[str, str]]:
        """Return the texts that were added since the last call: the path relative to the folder, and the text.

        A file that was replaced, or became shorter, counts as new.
        """
        before, self._known = self._known, dict(self._files())
        found = []
        for path, (inode, size, _) in sorted(self._known.items()):
            old_inode, old_size, _ = known = before.get(path, (inode, 0, 0))
            if known != self._known[path]:
                start = old_size if inode == old_inode and size > old_size else 0
                if text := _text(path, start):
                    found.append((str(path.relative_to(self._folder)), text))
        return found

    def _files(self) -> Iterator[tuple[Path, tuple[int, int, int]]]:
        """Yield each file with its inode, size and time of modification."""
        count = 0
        for root, folders, names in os.walk(self._folder):
            here = Path(root)
            folders[:] = sorted(name for name in folders if self._is_searched(here / name))
            for name in sorted(names):
                count += 1
                if count + len(folders) > MAX_ENTRIES:
                    return
                try:
                    status = (here / name).stat(follow_symlinks=False)
                except OSError:  # deleted in the meantime
                    continue
                if not name.startswith("."):
                    yield here / name, (status.st_ino, status.st_size, status.st_mtime_ns)

    def _is_searched(self, folder: Path) -> bool:
        is_skipped = folder.name.startswith(".") or folder.name in _SKIPPED or folder == self._without
        return not is_skipped and not (folder / "pyvenv.cfg").exists()


def _text(path: Path, start: int) -> str | None:
    """Return the text of a file from ``start``, None if it is long, or is not text."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(MAX_TEXT + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return None if len(data) > MAX_TEXT or "\0" in text else text
