"""The processes that write a journal: finds out whether one of them has ended, also by SIGKILL."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path


class Writers:
    """The processes that wrote to ``journals``.

    A journal names a process by its id. That id is useful only if fastbg runs in the same process namespace: a server
    in a container has other ids. So a process counts as ended only after one of the writers was found with the journal
    open. Without ``/proc`` no process counts as ended.
    """

    def __init__(self, journals: Sequence[Path]) -> None:
        self._journals = journals
        self._known: set[int] = set()
        self._is_our_namespace = False

    def add(self, pid: int) -> None:
        """Add a process that has just written."""
        if pid not in self._known:
            self._known.add(pid)
            self._is_our_namespace = self._is_our_namespace or self._has_open(pid)

    def ended(self, pids: Iterable[int]) -> list[int]:
        """Return those of ``pids`` that have certainly ended."""
        return [pid for pid in pids if self._is_our_namespace and not _exists(pid)]

    def _has_open(self, pid: int) -> bool:
        with suppress(OSError):
            ours = [(status.st_dev, status.st_ino) for status in map(os.stat, self._journals)]
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    status = entry.stat()
                    if (status.st_dev, status.st_ino) in ours:
                        return True
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
