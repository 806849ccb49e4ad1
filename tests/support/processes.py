"""Runs fastbg as users do: as a process with pipes or on a pseudo-terminal."""

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.forks import take_terminal

FASTBG = (sys.executable, "-m", "fastbg")
PATIENCE_S = 90.0

Process = subprocess.Popen[bytes]


def environment(**more: str) -> dict[str, str]:
    """Return the environment plus ``more``, without variables that change the output or its location."""
    own = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "FASTBG_DIR", "FASTBG_WORK", "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS")
    slow = ("PYTHONDONTWRITEBYTECODE",)  # with it each process compiles fastbg again
    plain = {key: value for key, value in os.environ.items() if key not in own + slow}
    return {**plain, "TERM": "xterm-256color", "TZ": "UTC", **more}


def fastbg(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = PATIENCE_S, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run fastbg to its end, with no standard input."""
    return subprocess.run(
        [*FASTBG, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        env=environment(**more),
        cwd=cwd,
        check=False,
    )


PEAK_SCRIPT = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fastbg", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def peak_memory_mib(*arguments: str | Path) -> tuple[float, bytes]:
    """Return the peak memory of fastbg in MiB, and its output.

    A process inherits the peak of its parent, so a small process starts it.
    """
    command = [sys.executable, "-c", PEAK_SCRIPT, *arguments]
    result = subprocess.run(command, capture_output=True, check=True, env=environment(), timeout=4 * PATIENCE_S)
    return int(result.stderr) / 1024, result.stdout


def read_until(stream: IO[bytes] | int | None, wanted: bytes) -> bytes:
    """Read ``stream`` (a pipe or a descriptor) until the pattern ``wanted`` matches, and return all that was read."""
    assert stream is not None
    descriptor = stream if isinstance(stream, int) else stream.fileno()
    found, end = b"", time.monotonic() + PATIENCE_S
    while re.search(wanted, found) is None:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        try:
            data = os.read(descriptor, 65536) if ready else b""
        except OSError as error:  # the process has closed its end of the terminal
            if error.errno != errno.EIO:
                raise
            data = b""
        assert data, f"{wanted!r} expected, got {found!r}"
        found += data
    return found


@contextmanager
def terminal(
    *arguments: str | Path, columns: int = 80, cwd: Path | None = None, stderr: IO[bytes] | None = None, **more: str
) -> Iterator[tuple[Process, int]]:
    """Run fastbg on a pseudo-terminal. Yield the process and our end. ``stderr``: a file for standard error."""
    command = [*FASTBG, *arguments]
    with on_terminal(command, columns=columns, cwd=cwd, stderr=stderr, env=environment(**more)) as started:
        yield started


@contextmanager
def on_terminal(
    command: Sequence[str | Path],
    *,
    env: dict[str, str],
    columns: int = 80,
    cwd: Path | None = None,
    stderr: IO[bytes] | None = None,
) -> Iterator[tuple[Process, int]]:
    """Run ``command`` on a pseudo-terminal, as `terminal` does."""
    ours, theirs = pty.openpty()
    resize(ours, 40, columns)
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=stderr or theirs,
        env=env,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Change the window size of a terminal, which sends SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def hang_up(terminal: int) -> None:
    """Hang up a terminal; the descriptor remains open."""
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), terminal)


def read_rest(descriptor: int) -> bytes:
    """Read the output of a terminal until its last process ends."""
    found, end = b"", time.monotonic() + PATIENCE_S
    try:
        while True:
            ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"the last process on the terminal does not end; its output: {found!r}"
            if not (data := os.read(descriptor, 65536)):
                break
            found += data
    except OSError as error:
        if error.errno != errno.EIO:  # EIO: the other end is closed
            raise
    return found


def wait_for(path: Path, wanted: bytes) -> bytes:
    """Wait until the pattern ``wanted`` is in the file ``path``, and return its content."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        content = path.read_bytes() if path.exists() else b""
        if re.search(wanted, content):
            return content
        time.sleep(0.005)
    raise AssertionError(f"{wanted!r} did not appear in {path}")


def is_alive(pid: int) -> bool:
    """Whether a process that is not our child still exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    return _stat(pid)[:1] not in ([], ["Z"])


def descendants(pid: int) -> set[int]:
    """Return the ids of all descendants of a process."""
    parents = {child: int(fields[1]) for child in _pids() if (fields := _stat(child))}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """Return the fields of proc(5) from the state on, or an empty list if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process is stopped."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
