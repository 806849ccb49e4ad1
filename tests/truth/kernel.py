"""Traces system calls with ftrace (https://docs.kernel.org/trace/ftrace.html), in a separate instance.

The trace uses the clock of `time.monotonic_ns`, so no conversion is needed. An event costs the traced process well
under a microsecond; ``strace`` stops the process twice per call. A process can write to `marker` to add a line to the
trace. With it the app names the request of the next system call in its thread.
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
LOG_FD = 900  # descriptor of the log in the served app; only its writes are traced
BUFFER_KB = 16384  # per core
CALLS = ("write", "sendto")

_LINE = re.compile(r".{16}-(\d+) +\[\d+\] \S+ +(\d+)\.(\d{6}): (?:(tracing_mark_write): (.*)|sys_(\w+)(\(| -> ).*)$")


class UnavailableError(Exception):
    """Tracing is not available; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call. Times in monotonic nanoseconds, with a resolution of 1000."""

    begin_ns: int
    end_ns: int


@dataclass(slots=True)
class Traced:
    """A parsed trace: start of the task and write by request id, and ``sends`` by thread."""

    started_ns: dict[str, int] = field(default_factory=dict)
    writes: dict[str, Call] = field(default_factory=dict)
    sends: dict[int, list[Call]] = field(default_factory=dict)


class Tracing:
    """A trace of this process and the processes that it starts, inside ``with``.

    Raises `UnavailableError` without root or CAP_SYS_ADMIN, or without tracefs in the kernel.
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
        """The file for lines that the trace should include."""
        return self._folder / "trace_marker"

    def clear(self) -> None:
        """Clear the trace."""
        self._set("trace", "")

    def read(self) -> Traced:
        """Return the parsed trace. Raises `RuntimeError` if the kernel discarded events."""
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
    """Yield the mount point of tracefs. Mount it temporarily if needed."""
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
    """Parse a trace. The marker line "start ID" is the start of a task, "write ID" announces a write."""
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
