"""The parts of a journal: the file that is written, and what it was before it had grown to its size.

A full ``journal.jsonl`` is renamed to ``journal.jsonl.1``, the next one to ``journal.jsonl.2``, and so on: numbers grow
with time, and no name comes to mean another file. Each rotation deletes all but the `KEPT` youngest of them.

Who writes holds a shared lock (`flock`) on the very file that it writes, from before its first line until it has
opened another one or has ended, in whatever way. So a line may still come to a part that was renamed already, and a
reader that gets an exclusive lock on a part knows that nothing more comes to it.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

KEPT = 4

_NUMBER = re.compile(r"\.([1-9]\d{0,17})")


def part(journal: Path, number: int) -> Path:
    """The name of a part that is written no more."""
    return journal.with_name(f"{journal.name}.{number}")


def numbers(journal: Path) -> list[int]:
    """The numbers of the parts that there are beside ``journal``, the oldest first."""
    try:
        names = os.listdir(journal.parent)  # noqa: PTH208  # names are all that is wanted
    except OSError:
        return []
    begin = len(journal.name)
    found = [_NUMBER.fullmatch(name, begin) for name in names if name.startswith(journal.name)]
    return sorted(int(match[1]) for match in found if match)


def open_to_write(journal: Path) -> int:
    """A descriptor that appends to ``journal``, which is made if need be, and holds the lock. Raises `OSError`."""
    while True:
        descriptor = os.open(journal, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
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
        os.close(descriptor)  # rotated before we had the lock


def is_sealed(descriptor: int) -> bool:
    """Whether nobody can write any more to a part, which is open as ``descriptor`` and was renamed already."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def rotate(journal: Path, size: int) -> None:
    """Make ``journal`` a part if it has ``size`` bytes, and delete the oldest parts. Raises `OSError`.

    One process does it at a time, and the others do not wait. Killed at any moment it leaves the parts in order, at
    worst without a ``journal``, which the next writer makes, or with a part too many, which the next rotation deletes.
    """
    folder = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if journal.stat().st_size < size:
            return  # another process was faster
        old = numbers(journal)
        number = old[-1] + 1 if old else 1
        journal.rename(part(journal, number))
        for each in old:
            if each <= number - KEPT:
                part(journal, each).unlink(missing_ok=True)
    except BlockingIOError:
        return  # another process is doing it
    finally:
        os.close(folder)
