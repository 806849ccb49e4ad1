"""The kernel's trace of system calls, https://docs.kernel.org/trace/ftrace.html, in an instance of our own.

Its clock is `time.monotonic_ns`, so nothing is converted. An event costs the traced process well under a microsecond,
where ``strace`` stops it twice for each call. What a process writes to `marker` comes into the same trace, with the
time at which the kernel took it: the app says so what the next system call of its thread is for.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

TRACEFS = Path("/sys/kernel/tracing")
LOG_FD = 900  # of the log in the served app: the only descriptor whose writes are traced
BUFFER_KB = 16384  # for each core
CALLS = ("write", "sendto")

_LINE = re.compile(r".{16}-(\d+) +\[\d+\] \S+ +(\d+)\.(\d{6}): (?:(tracing_mark_write): (.*)|sys_(\w+)(\(| -> ).*)$")


class UnavailableError(Exception):
    """The kernel does not tell us: why, for people."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call, from when to when. Monotonic nanoseconds, told to the microsecond."""

    begin_ns: int
    end_ns: int


@dataclass(slots=True)
class Traced:
    """What a trace says: by request id, when its task began and its write; and all ``sends``, by thread."""

    started_ns: dict[str, int] = field(default_factory=dict)
    writes: dict[str, Call] = field(default_factory=dict)
    sends: dict[int, list[Call]] = field(default_factory=dict)


class Tracing:
    """Traces this process and all that it starts from now on, until it is left.

    Raises `UnavailableError` where we may not: it takes root, or CAP_SYS_ADMIN, and a kernel with tracefs.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path()

    def __enter__(self) -> Self:
        try:
            with ExitStack() as stack:
                root = stack.enter_context(_tracefs())
                self._folder = Path(tempfile.mkdtemp(prefix="fastbg-truth-", dir=root / "instances"))
                stack.callback(self._folder.rmdir)
                self._begin()
                self._stack = stack.pop_all()
        except OSError as error:
            raise UnavailableError(f"no trace of system calls: {error.strerror}: {error.filename}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def marker(self) -> Path:
        """What is written here comes into the trace."""
        return self._folder / "trace_marker"

    def clear(self) -> None:
        """Forget what was traced until now."""
        self._set("trace", "")

    def read(self) -> Traced:
        """What was traced. Raises `RuntimeError` where the kernel had to throw a part of it away."""
        for stats in self._folder.glob("per_cpu/cpu*/stats"):
            lost = re.findall(r"^(overrun|dropped events): ([1-9]\d*)$", stats.read_text(), re.MULTILINE)
            if lost:
                raise RuntimeError(f"the trace is not complete: {lost}")
        with (self._folder / "trace").open(encoding="utf-8", errors="replace") as lines:
            return parse(lines)

    def _begin(self) -> None:
        self._set("trace_clock", "mono")
        self._set("buffer_size_kb", str(BUFFER_KB))
        self._set("options/event-fork", "1")
        self._set("set_event_pid", str(os.getpid()))
        self._set("events/syscalls/sys_enter_write/filter", f"fd == {LOG_FD}")
        for call in CALLS:
            for edge in ("enter", "exit"):
                self._set(f"events/syscalls/sys_{edge}_{call}/enable", "1")

    def _set(self, name: str, value: str) -> None:
        (self._folder / name).write_text(value, encoding="ascii")


@contextmanager
def _tracefs() -> Iterator[Path]:
    """Where it is mounted, which may be for us alone."""
    if (TRACEFS / "instances").is_dir():
        yield TRACEFS
        return
    with tempfile.TemporaryDirectory(prefix="fastbg-tracefs-") as folder:
        mounted = subprocess.run(["mount", "-t", "tracefs", "tracefs", folder], capture_output=True, text=True)
        if mounted.returncode:
            raise UnavailableError(f"no trace of system calls: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def parse(lines: Iterable[str]) -> Traced:
    """A trace as the kernel prints it. A mark "start ID" is the beginning of a task, "write ID" announces a write."""
    traced = Traced()
    announced: dict[int, str] = {}  # by thread
    begun: dict[tuple[int, str], int] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        thread, t_ns = int(found[1]), int(found[2]) * 10**9 + int(found[3]) * 1000
        if found[4]:
            kind, _, request_id = found[5].partition(" ")
            if kind == "start":
                traced.started_ns[request_id] = t_ns
            else:
                announced[thread] = request_id
        elif found[7] == "(":
            begun[thread, found[6]] = t_ns
        elif (thread, found[6]) in begun:
            call = Call(begun.pop((thread, found[6])), t_ns)
            if found[6] == "sendto":
                traced.sends.setdefault(thread, []).append(call)
            else:
                traced.writes[announced.pop(thread)] = call
    return traced
