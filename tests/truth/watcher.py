"""``python -m tests.truth.watcher FILE``: does nothing but wait for the kernel to say that the file has changed.

It prints the time of each such moment and the file's size, when something comes to its standard input and every change
before that was heard of.
"""

import os
import select
import sys
import time

import inotify_simple  # type: ignore[import-untyped]  # it has no type hints


def watch(path: str) -> list[tuple[int, int]]:
    """The time (monotonic ns) at which each change was heard of, and the size of the file then."""
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
