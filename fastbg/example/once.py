"""An append that is made once, however often it is asked for.

A queue delivers a task at least once: a worker that dies between its write and its word that the task is done leaves a
task that is delivered again. So each append carries a key, and ``FILE.keys`` beside the file has the key of each append
that was made. Whoever appends holds the lock on ``FILE.keys`` meanwhile:

1. Where the key is noted, the append was made: nothing is left to do.
2. Otherwise the key is noted, with the size that the file will have afterwards, and then the text is appended.
3. Where the last note tells of more bytes than the file has, a process died between the two halves of step 2. The note
   is taken back by the next one that comes, and the task that was not done will be delivered again.

The kernel frees the lock of a process that was killed. The limits: it holds for writers on one machine that all append
by this function; a key is forgotten after `REMEMBERED` later appends; it survives the death of processes, and not the
loss of power, where a disk may have kept one of the two files and not the other.
"""

import fcntl
import hashlib
import os
import threading
from pathlib import Path

REMEMBERED = 20_000  # appends
_one_thread = threading.Lock()  # a lock on a file wakes all that wait for it, and one gets it
NOTE_BYTES = 49  # 32 digits of the key, a space, 15 digits of the size, a newline


def append_once(path: Path, data: bytes, key: str) -> bool:
    """Append ``data`` in one write, unless that was done for ``key`` before; whether it was done now.

    Raises `OSError` where not all of it could be written, and then leaves the file as it was.
    """
    name = hashlib.sha256(b"\0".join((key.encode(), path.name.encode(), data))).hexdigest()[:32].encode() + b" "
    with (
        _one_thread,
        open(path.with_name(path.name + ".keys"), "a+b", buffering=0) as notes,
        open(path, "ab", buffering=0) as file,
    ):
        fcntl.flock(notes, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(file.fileno()).st_size
        if name in _read_notes(notes.fileno(), size):
            return False
        end = os.fstat(notes.fileno()).st_size
        notes.write(b"%s%015d\n" % (name, size + len(data)))
        written = file.write(data)
        if written != len(data):
            os.ftruncate(file.fileno(), size)
            os.ftruncate(notes.fileno(), end)
            raise OSError(f"only {written} of {len(data)} bytes went to {path.name}")
    return True


def _read_notes(notes: int, size: int) -> bytes:
    """The last notes, without one that was made before an append that was not: the file has ``size`` bytes."""
    end = told = os.fstat(notes).st_size
    end -= end % NOTE_BYTES  # a note that was torn
    begin = max(0, end - REMEMBERED * NOTE_BYTES)
    text = os.pread(notes, end - begin, begin)
    if text and int(text[-16:-1]) > size:
        end -= NOTE_BYTES
        text = text[:-NOTE_BYTES]
    if end != told:
        os.ftruncate(notes, end)
    return text
