"""The rotation of a journal, and its parts: the current file, and the renamed older ones.

A full ``journal.jsonl`` is renamed to ``journal.jsonl.1``, the next one to ``journal.jsonl.2``, and so on. The numbers
increase with time, and no name is used twice. Each rotation deletes all renamed parts except the `KEPT` newest ones.

A writer holds a shared lock (`flock`) on the file that it writes, from before its first line until it opens another
file or ends, even by SIGKILL. So a renamed part may still get lines. A reader that gets an exclusive lock on a part
knows that the part is complete.
"""

import fcntl
import os
import re
from contextlib import suppress
from glob import escape
from pathlib import Path

from fastbg.data_folder import check_regular

KEPT = 4

_NUMBER = re.compile(r"\.([1-9]\d{0,17})")


def part(journal: Path, number: int) -> Path:
    """Return the path of a renamed part."""
    return journal.with_name(f"{journal.name}.{number}")


def loss_sign(journal: Path) -> Path:
    """Return the path of an empty file: this process could not write, and has not said so in its journal."""
    return journal.with_name(f"{journal.name}.lost.{os.getpid()}")


def loss_signs(journal: Path) -> set[tuple[str, int]]:
    """Return the name and the time of each `loss_sign` that a process has left. A later process may have its number."""
    found = set()
    for path in journal.parent.glob(f"{escape(journal.name)}.lost.*"):
        with suppress(OSError):  # its process writes again
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def numbers(journal: Path) -> list[int]:
    """Return the numbers of the renamed parts of ``journal``, the oldest first."""
    try:
        names = os.listdir(journal.parent)  # noqa: PTH208  # only the names are needed
    except OSError:
        return []
    begin = len(journal.name)
    found = [_NUMBER.fullmatch(name, begin) for name in names if name.startswith(journal.name)]
    return sorted(int(match[1]) for match in found if match)


def open_to_write(journal: Path) -> int:
    """Open ``journal`` for appending, create it if it does not exist, and lock it. Raises `OSError`."""
    while True:
        check_regular(journal)
        descriptor = os.open(journal, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), journal.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # rotated before it was locked


def is_sealed(descriptor: int) -> bool:
    """Return whether no process can append to a renamed part any more. ``descriptor``: of the part."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def rotate(journal: Path, size: int) -> None:
    """Rename ``journal`` if it has at least ``size`` bytes, and delete the oldest parts. Raises `OSError`.

    Only one process rotates at a time; the others do not wait for it. If it is killed, the parts are still in order. In
    the worst case ``journal`` is missing, and the next writer creates it, or there is one part too many, and the next
    rotation deletes it.
    """
    folder = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if journal.stat().st_size < size:
            return  # another process has just rotated it
        old = numbers(journal)
        number = old[-1] + 1 if old else 1
        journal.rename(part(journal, number))
        for each in old:
            if each <= number - KEPT:
                part(journal, each).unlink(missing_ok=True)
    except BlockingIOError:
        return  # another process rotates it now
    finally:
        os.close(folder)
