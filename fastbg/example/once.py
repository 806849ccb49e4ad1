"""Append to a file once, even if the same append is requested several times.

A queue delivers a task at least once: if a worker dies after its write and before it reports the task as done, the task
is delivered again. So each append has a key, and ``FILE.keys`` beside the file has an entry for each append that was
made. A writer locks ``FILE.keys``, and then:

1. If there is an entry for the key, the append was made before: nothing is left to do.
2. If not, the writer adds an entry (the key, and the size that the file will have), and then appends the text.
3. If the last entry has a larger size than the file, a process died between the two parts of step 2. The next writer
   removes this entry, so that the append is made when the task is delivered again.

If a process is killed, the kernel releases its lock. The limits: all writers have to be on one machine and use this
function. A key is forgotten after `MAX_ENTRIES` later appends. A power cut may leave one of the two files on the disk
without the other.
"""

import fcntl
import hashlib
import os
import threading
from pathlib import Path

MAX_ENTRIES = 20_000
ENTRY_BYTES = 49  # 32 digits of the key, a space, 15 digits of the size, a newline
_thread_lock = threading.Lock()  # a file lock wakes every thread that waits for it, and only one of them gets it


def append_once(path: Path, data: bytes, key: str) -> bool:
    """Append ``data`` in one write, unless that was done for ``key`` before. Return whether it was done now.

    Raise `OSError` if not all of it could be written; the file is then unchanged.
    """
    digest = hashlib.sha256(key.encode() + b"\0" + data).hexdigest()[:32].encode()
    with (
        _thread_lock,
        open(path.with_name(path.name + ".keys"), "a+b", buffering=0) as keys,
        open(path, "ab", buffering=0) as file,
    ):
        fcntl.flock(keys, fcntl.LOCK_EX)  # closing the file releases the lock
        size = os.fstat(file.fileno()).st_size
        if digest in _read_entries(keys.fileno(), size):
            return False
        keys_size = os.fstat(keys.fileno()).st_size
        keys.write(b"%s %015d\n" % (digest, size + len(data)))
        written = file.write(data)
        if written != len(data):
            os.ftruncate(file.fileno(), size)
            os.ftruncate(keys.fileno(), keys_size)
            raise OSError(f"only {written} of {len(data)} bytes were written to {path.name}")
    return True


def _read_entries(keys: int, file_size: int) -> bytes:
    """Read the last entries. Remove an incomplete entry, and an entry whose append was not made."""
    end = keys_size = os.fstat(keys).st_size
    end -= end % ENTRY_BYTES
    begin = max(0, end - MAX_ENTRIES * ENTRY_BYTES)
    entries = os.pread(keys, end - begin, begin)
    if entries and int(entries[-16:-1]) > file_size:
        end -= ENTRY_BYTES
        entries = entries[:-ENTRY_BYTES]
    if end != keys_size:
        os.ftruncate(keys, end)
    return entries
