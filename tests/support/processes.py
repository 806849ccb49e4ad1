"""Runs fastbg as its users do: as a process, in a pipe or on a pseudo-terminal."""

import errno
import fcntl
import multiprocessing
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

FASTBG = (sys.executable, "-m", "fastbg")
PATIENCE_S = 90.0

Process = subprocess.Popen[bytes]


def environment(**more: str) -> dict[str, str]:
    """The environment without what would change the output or where it goes, and with ``more``."""
    own = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "FASTBG_DIR", "FASTBG_WORK", "GITHUB_STEP_SUMMARY")
    slow = ("PYTHONDONTWRITEBYTECODE",)  # each process would compile fastbg again
    plain = {key: value for key, value in os.environ.items() if key not in own + slow}
    return {**plain, "TERM": "xterm-256color", "TZ": "UTC", **more}


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["fastbg.commands.demo", "fastbg.run.runner", "fastbg.run.prepare", "fastbg.run.client", "fastbg.report.console"]
)


def fastbg(
    *arguments: str | Path, cwd: Path | None = None, patience: float = PATIENCE_S, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run fastbg to its end, its output in files and nobody at the keyboard.

    It is a process of its own, forked from one that has imported what it needs: this takes more time than most of what
    the tests do with it. One starts from nothing where it starts others by multiprocessing (``serve``, ``worker``), or
    is given variables that only a new interpreter obeys.
    """
    if {"serve", "worker"} & set(arguments[:1]) or any(
        name.startswith("PYTHON") for name in more.keys() - {"PYTHONPATH"}
    ):
        return subprocess.run(
            [*FASTBG, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience,
            env=environment(**more),
            cwd=cwd,
            check=False,
        )
    with tempfile.TemporaryDirectory() as folder:
        output = [Path(folder) / "stdout", Path(folder) / "stderr"]
        process = _forks.Process(
            target=_run, args=([*map(str, arguments)], str(cwd or Path.cwd()), environment(**more), output)
        )
        process.start()
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["fastbg", *map(str, arguments)], patience)
        told = [path.read_bytes() for path in output]
    return subprocess.CompletedProcess(["fastbg", *map(str, arguments)], process.exitcode, *told)


def _run(arguments: list[str], cwd: str, variables: dict[str, str], output: list[Path]) -> None:
    """Be the command ``fastbg`` with these arguments, in the process that was forked for it."""
    from fastbg.cli import main

    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    for number, path in enumerate([Path(os.devnull), *output]):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv[:] = ["fastbg", *arguments]
    time.tzset()
    main()


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fastbg", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def peak_mib(*arguments: str | Path) -> tuple[float, bytes]:
    """The most memory that fastbg had with these arguments, in MiB, and what it wrote.

    A process begins with the peak of the one that started it, so a small one stands between it and this one.
    """
    command = [sys.executable, "-c", PEAK, *arguments]
    result = subprocess.run(command, capture_output=True, check=True, env=environment(), timeout=4 * PATIENCE_S)
    return int(result.stderr) / 1024, result.stdout


def until(stream: IO[bytes] | int | None, wanted: bytes) -> bytes:
    """What ``stream`` (a pipe, or a descriptor) gives, as soon as the pattern ``wanted`` is in it."""
    assert stream is not None
    descriptor = stream if isinstance(stream, int) else stream.fileno()
    found, end = b"", time.monotonic() + PATIENCE_S
    while re.search(wanted, found) is None:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        data = os.read(descriptor, 65536) if ready else b""
        assert data, f"{wanted!r} did not come, only {found!r}"
        found += data
    return found


@contextmanager
def terminal(
    *arguments: str | Path, columns: int = 80, cwd: Path | None = None, stderr: IO[bytes] | None = None, **more: str
) -> Iterator[tuple[Process, int]]:
    """fastbg on a pseudo-terminal of its own: the process, and our side of it. ``stderr``: another place."""
    ours, theirs = pty.openpty()
    resize(ours, 40, columns)
    process = subprocess.Popen(
        [*FASTBG, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=stderr or theirs,
        env=environment(**more),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_take_terminal,  # so that ^C typed there is a signal
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Give the window of a terminal another size, which tells the processes in it."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def hang_up(terminal: int) -> None:
    """Close a terminal; the descriptor stays one to close."""
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), terminal)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def rest_of(descriptor: int) -> bytes:
    """What a terminal still shows, up to the end of its last process."""
    found, end = b"", time.monotonic() + PATIENCE_S
    try:
        while True:
            ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"the last process on the terminal does not end, it showed {found!r}"
            if not (data := os.read(descriptor, 65536)):
                break
            found += data
    except OSError as error:
        if error.errno != errno.EIO:  # how a terminal says that the other side has gone
            raise
    return found


def wait_for(path: Path, wanted: bytes) -> bytes:
    """The content of ``path``, as soon as the pattern ``wanted`` is in it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        content = path.read_bytes() if path.exists() else b""
        if re.search(wanted, content):
            return content
        time.sleep(0.005)
    raise AssertionError(f"{wanted!r} did not come to {path}")


def is_alive(pid: int) -> bool:
    """Whether a process that is not our child still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether the process is there, and not only until somebody asks how it ended."""
    return _stat(pid)[:1] not in ([], ["Z"])


def descendants(pid: int) -> set[int]:
    """The children of a process, their children, and so on."""
    parents = {child: int(fields[1]) for child in _pids() if (fields := _stat(child))}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """State, parent and so on, as in proc(5); empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has come to every thread of the process."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until ``holds`` comes true."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
