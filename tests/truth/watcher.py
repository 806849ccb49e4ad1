"""``python -m tests.truth.watcher FILE``: waits for changes of the file with inotify, and does nothing else.

On input to standard input it prints the time of each change and the size of the file.
"""

import os
import select
import sys
import time

import inotify_simple  # type: ignore[import-untyped]  # it has no type hints


def watch(path: str) -> list[tuple[int, int]]:
    """Return the time of each change (monotonic ns) and the size of the file at that time."""
    seen = []
    with inotify_simple.INotify() as inotify:
        inotify.add_watch(path, inotify_simple.flags.MODIFY)
        print("watching", flush=True)
        descriptor = inotify.fileno()
        while descriptor in select.select([descriptor, sys.stdin], [], [])[0]:
            t_ns = time.monotonic_ns()
            os.read(descriptor, 65536)
            seen.append((t_ns, os.stat(path).st_size))  # noqa: PTH116
    return seen


if __name__ == "__main__":
    print(*(f"{t_ns} {size}" for t_ns, size in watch(sys.argv[1])), sep="\n")
