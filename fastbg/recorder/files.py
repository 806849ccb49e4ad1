"""The sizes and changes of files that the recorder writes to the journal."""

import os
from collections.abc import Iterable, Sequence


def sizes_of(paths: Iterable[str]) -> dict[str, int]:
    """Return the size in bytes of each file that exists."""
    return {path: status.st_size for path in paths if (status := _status(path)) is not None}


class RequestFiles:
    """The followed files during one request."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._before = [_version(_status(path)) for path in paths]

    def sizes(self) -> dict[str, int]:
        return sizes_of(self._paths)

    def sizes_and_changed(self) -> tuple[dict[str, int], Sequence[str]]:
        """Return the sizes, and the files that have changed since the request, also those that kept their size."""
        sizes, changed = {}, []
        for path, before in zip(self._paths, self._before, strict=True):
            status = _status(path)
            if status is not None:
                sizes[path] = status.st_size
            if _version(status) != before:
                changed.append(path)
        return sizes, changed


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  # half the time of Path.stat
    except OSError:
        return None


def _version(status: os.stat_result | None) -> tuple[int, int] | None:
    """Return what differs after a change, unless it was in the same tick of the kernel's clock. None without a file."""
    return status and (status.st_ino, status.st_mtime_ns)
