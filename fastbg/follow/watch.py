"""What wakes a follower: the kernel's notifications on Linux, a clock elsewhere.

A watcher says *that* something may have happened to a path and when we were told. *What* happened is for
the caller to look up: events come coalesced, late, or for a file that has gone meanwhile.
"""

import asyncio
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

POLL_S = 0.04  # with the time that looking takes, at most 50 ms late
RECHECK_S = 1.0  # for what the kernel does not announce: network mounts, folders that we may not watch

Changed = Callable[[int, Path, bool], None]
"""Called with the time of the wake (monotonic ns), the path, and whether more than its size may be new."""


class Watcher(Protocol):
    """Calls a `Changed` after something may have happened to one of its paths."""

    def watch(self, path: Path, old: Iterable[int] = ()) -> None:
        """Watch ``path`` as it resolves now; call it again when that may have changed.

        Whoever looks at the file after this call learns of every change that comes after the look. ``old``: open files
        that it has led to before, whose changes count as well.
        Raises `OSError` where the kernel has no watches left.
        """

    def close(self) -> None:
        """Stop, and release what is held."""


def choose_watcher(changed: Changed, *, poll: bool) -> tuple[Watcher, str | None]:
    """The best watcher here, and where it is not the one that was wanted, why."""
    if poll or sys.platform != "linux":
        return PollWatcher(changed), None
    try:
        return InotifyWatcher(changed), None
    except OSError as error:
        return PollWatcher(changed), error.strerror


class PollWatcher:
    """Looks at everything every 40 ms."""

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
        t_ns = time.monotonic_ns()
        self._timer = self._loop.call_later(POLL_S, self._wake)
        for path in self._paths:
            self._changed(t_ns, path, True)


class InotifyWatcher:
    """The kernel's notifications: of the file itself, and of every folder on the way to it."""

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
        # what an event has to say: watch descriptor -> name in the event ("" for the file itself) -> paths
        self._heard: dict[int, dict[str, set[Path]]] = {}
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
        for folder, name in steps(path):
            self._add(points, folder, self._folder_mask, name, path)
            last = os.path.join(folder, name)  # noqa: PTH118  (a Path would drop what the kernel keeps)
        for descriptor in old:
            self._add(points, f"/proc/self/fd/{descriptor}", self._file_mask, "", path)
        if last is None or not self._add(points, last, self._file_mask, "", path):
            # no file now: the one that was there may still be written to, under another name
            points |= {point for point in before if point[1] == ""}
        self._points[path] = points
        for descriptor, name in before - points:
            self._remove(descriptor, name, path)

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
        # The kernel takes some 15 ms to take its watches down; nobody has to wait for that but a thread.
        threading.Thread(target=self._inotify.close, name="fastbg-inotify-close").start()
        self._heard.clear()
        self._points.clear()

    def _add(self, points: set[tuple[int, str]], target: str, mask: int, name: str, path: Path) -> bool:
        try:
            descriptor: int = self._inotify.add_watch(target, mask)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise
            return False  # not there, or not ours to watch: its folder and the recheck tell
        self._heard.setdefault(descriptor, {}).setdefault(name, set()).add(path)
        points.add((descriptor, name))
        return True

    def _remove(self, descriptor: int, name: str, path: Path) -> None:
        names = self._heard.get(descriptor)
        if names is None:
            return
        names[name].discard(path)
        if not names[name]:
            del names[name]
        if not names:
            del self._heard[descriptor]
            try:
                self._inotify.rm_watch(descriptor)
            except OSError as error:
                if error.errno != errno.EINVAL:  # EINVAL: gone with its file
                    raise

    def _wake(self) -> None:
        t_ns = time.monotonic_ns()
        try:
            events = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        resized: dict[Path, bool] = {}
        for descriptor, mask, _cookie, name in self._parse(events):
            if mask & self._overflow:
                resized.update(dict.fromkeys(self._points, True))
                continue
            for path in self._heard.get(descriptor, {}).get(name, ()):
                resized[path] = resized.get(path, False) or not mask & self._modify
            if mask & self._ignored:
                self._heard.pop(descriptor, None)
        for path, moved in resized.items():
            self._changed(t_ns, path, moved)

    def _recheck(self) -> None:
        t_ns = time.monotonic_ns()
        self._timer = self._loop.call_later(RECHECK_S, self._recheck)
        for path in list(self._points):
            self._changed(t_ns, path, True)


def steps(path: Path) -> Iterator[tuple[str, str]]:
    """Every ``(folder, name)`` that the kernel looks up on the way to ``path``, links followed.

    Each one is given out before it is looked up: a caller who watches the folder then misses no change.
    It ends at the first name that is not there, or after 40 links as the kernel does.
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
        except (OSError, ValueError):  # no link
            folder = here
            continue
        links += 1
        if links > 40:
            return
        if target.startswith("/"):
            folder = "/"
        names = target.split("/") + names
