"""Watchers that wake a follower: the kernel's notifications on Linux, polling elsewhere.

A watcher reports *that* a path may have changed, and the time of the report. The caller has to check *what* has
changed: notifications may be merged, late, or about a file that no longer exists.
"""

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from fastbg.clock import monotonic_ns

POLL_S = 0.04  # together with the check itself, at most 50 ms late
RECHECK_S = 1.0  # for changes without notifications: network mounts, folders without permission to watch

Changed = Callable[[int, Path, bool], None]
"""Called with the time of the notification (monotonic ns), the path, and whether more than its size may differ."""


class Watcher(Protocol):
    """Calls a `Changed` when one of its paths may have changed."""

    def watch(self, path: Path, old: Iterable[int] = ()) -> None:
        """Watch ``path`` as it resolves now. Call it again when this may have changed.

        Every change after this call is reported. ``old``: descriptors of files that were at ``path`` before; their
        changes are reported, too. Raises `OSError` if the kernel's limit for watches is reached.
        """

    def close(self) -> None:
        """Stop, and close everything."""


def choose_watcher(changed: Changed, *, poll: bool) -> tuple[Watcher, str | None]:
    """Return the best available watcher, and the reason if the kernel's notifications are not available."""
    if poll or sys.platform != "linux":
        return PollWatcher(changed), None
    try:
        return InotifyWatcher(changed), None
    except OSError as error:
        return PollWatcher(changed), error.strerror


class PollWatcher:
    """Reports all paths every 40 ms."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._paths: dict[Path, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(POLL_S, self._wake)

    def watch(self, path: Path, old: Iterable[int] = ()) -> None:
        self._paths[path] = None

    def close(self) -> None:
        self._timer.cancel()

    def _wake(self) -> None:
        t_ns = monotonic_ns()
        self._timer = self._loop.call_later(POLL_S, self._wake)
        for path in self._paths:
            self._changed(t_ns, path, True)


class InotifyWatcher:
    """Watches each file, and every folder on the way to it, with the kernel's notifications (inotify)."""

    def __init__(self, changed: Changed) -> None:
        import inotify_simple  # type: ignore[import-untyped]  # it has no type hints

        flags = inotify_simple.flags
        self._file_mask = flags.MODIFY | flags.ATTRIB | flags.MOVE_SELF | flags.MASK_ADD
        self._folder_mask = (
            flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ATTRIB | flags.MASK_ADD
        )
        self._modify, self._overflow, self._ignored = (
            int(flags.MODIFY),
            int(flags.Q_OVERFLOW),
            int(flags.IGNORED),
        )
        self._parse = inotify_simple.parse_events
        self._changed = changed
        # watch descriptor -> name in the event ("" for the file itself) -> paths
        self._watches: dict[int, dict[str, set[Path]]] = {}
        self._points: dict[Path, set[tuple[int, str]]] = {}
        self._inotify = inotify_simple.INotify(nonblocking=True)
        self._descriptor: int = self._inotify.fileno()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._wake)
        self._timer = self._loop.call_later(RECHECK_S, self._recheck)

    def watch(self, path: Path, old: Iterable[int] = ()) -> None:
        before = self._points.get(path, set())
        points: set[tuple[int, str]] = set()
        last = None
        for folder, name in lookups(path):
            self._add(points, folder, self._folder_mask, name, path)
            last = os.path.join(folder, name)  # noqa: PTH118  (a Path would drop what the kernel keeps)
        for descriptor in old:
            self._add(points, f"/proc/self/fd/{descriptor}", self._file_mask, "", path)
        if last is None or not self._add(points, last, self._file_mask, "", path):
            # The path has no file now. Another process may still write to the last one, under another name.
            points |= {point for point in before if point[1] == ""}
        self._points[path] = points
        for descriptor, name in before - points:
            self._remove(descriptor, name, path)

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
        # The kernel takes about 15 ms to remove its watches: a thread waits for that.
        threading.Thread(target=self._inotify.close, name="fastbg-inotify-close").start()
        self._watches.clear()
        self._points.clear()

    def _add(self, points: set[tuple[int, str]], target: str, mask: int, name: str, path: Path) -> bool:
        try:
            descriptor: int = self._inotify.add_watch(target, mask)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise
            return False  # missing, or no permission: its folder or the recheck reports changes
        self._watches.setdefault(descriptor, {}).setdefault(name, set()).add(path)
        points.add((descriptor, name))
        return True

    def _remove(self, descriptor: int, name: str, path: Path) -> None:
        names = self._watches.get(descriptor)
        if names is None:
            return
        names[name].discard(path)
        if not names[name]:
            del names[name]
        if not names:
            del self._watches[descriptor]
            try:
                self._inotify.rm_watch(descriptor)
            except OSError as error:
                if error.errno != errno.EINVAL:  # EINVAL: the kernel has removed it with its file
                    raise

    def _wake(self) -> None:
        t_ns = monotonic_ns()
        try:
            events = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        changed: dict[Path, bool] = {}  # whether more than the size may have changed
        for descriptor, mask, _cookie, name in self._parse(events):
            if mask & self._overflow:
                changed.update(dict.fromkeys(self._points, True))
                continue
            for path in self._watches.get(descriptor, {}).get(name, ()):
                changed[path] = changed.get(path, False) or not mask & self._modify
            if mask & self._ignored:
                self._watches.pop(descriptor, None)
        for path, moved in changed.items():
            self._changed(t_ns, path, moved)

    def _recheck(self) -> None:
        t_ns = monotonic_ns()
        self._timer = self._loop.call_later(RECHECK_S, self._recheck)
        for path in list(self._points):
            self._changed(t_ns, path, True)


def lookups(path: Path) -> Iterator[tuple[str, str]]:
    """Yield every ``(folder, name)`` that the kernel looks up to open ``path``, including links.

    Each one is yielded before its own lookup: a caller that watches the folder misses no change. It ends at the first
    missing name, or after 40 links, which is the kernel's limit.
    """
    folder, links = "/", 0
    names = str(path if path.is_absolute() else Path.cwd() / path).split("/")
    while names:
        name = names.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            folder = os.path.dirname(folder)  # noqa: PTH120
            continue
        yield folder, name
        here = os.path.join(folder, name)  # noqa: PTH118
        try:
            target = os.readlink(here)  # noqa: PTH115
        except FileNotFoundError:
            return
        except (OSError, ValueError):  # not a link
            folder = here
            continue
        links += 1
        if links > 40:
            return
        if target.startswith("/"):
            folder = "/"
        names = target.split("/") + names
