"""Traces system calls with ftrace (https://docs.kernel.org/trace/ftrace.html), in a separate instance.

The trace uses the clock of `time.monotonic_ns`, so no conversion is needed. An event costs the traced process well
under a microsecond; ``strace`` stops the process twice per call. A process can write to `marker` to add a line to the
trace. With such lines the app says what the next system calls of its thread or socket belong to:

* ``socket ID FD``: until it is closed, this socket of the process is the connection of the request
* ``made ID``: the app has made one more task than the shape of the request says
* ``called ID``, ``returned ID``: the app is about to let Starlette run the task, and Starlette has run it
* ``start ID N``, ``end ID N``: the function of the task begins, or is about to return
* ``write ID``: the next write of this thread to `LOG_FD` is work of the request
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

TRACEFS = Path("/sys/kernel/tracing")
LOG_FD = 900  # descriptor of the log in the served app
BUFFER_KB = 32768  # per core
SENDS = ("write", "writev", "sendto", "sendmsg", "sendfile64")
CALLS = (*SENDS, "shutdown", "close")

_LINE = re.compile(
    r".{16}-(\d+) +\( *(\d+|-+)\) \[\d+\] \S+ +(\d+)\.(\d{6}): "
    r"(?:tracing_mark_write: (.*)|sys_(\w+)(?:\((?:out_)?fd: (\w+)(.*)| -> (\w+)))$"
)
_RECEIVING_ONLY = ", how: 0)"  # of shutdown: SHUT_RD


class UnavailableError(Exception):
    """Tracing is not available; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call. Times in monotonic nanoseconds, with a resolution of 1000. ``size``: what it returned."""

    begin_ns: int
    end_ns: int
    size: int = 0


@dataclass(slots=True)
class TracedRequest:
    """What the kernel saw of one request.

    ``made``: tasks that the shape of the request does not say. ``called_ns``, ``returned_ns``: around Starlette's call
    of the task, where the app makes it. ``started_ns``, ``ended_ns``: of the tasks, by their names. ``writes``: the
    calls that wrote to the log. ``sends``: the calls that sent data on the connection. ``closed``: the call that ended
    the connection.
    """

    made: int = 0
    called_ns: int | None = None
    returned_ns: int | None = None
    started_ns: dict[str, int] = field(default_factory=dict)
    ended_ns: dict[str, int] = field(default_factory=dict)
    writes: list[Call] = field(default_factory=list)
    sends: list[Call] = field(default_factory=list)
    closed: Call | None = None

    def send(self, call: Call) -> None:
        """Add a call that may have sent data."""
        if call.size > 0:
            self.sends.append(call)

    def close(self, call: Call) -> None:
        """Store the first call that ended the connection."""
        self.closed = self.closed or call


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

    def read(self) -> dict[str, TracedRequest]:
        """Return the parsed trace by request id. Raises `RuntimeError` if the kernel discarded events."""
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
        self._set("options/record-tgid", "1")  # descriptors belong to processes, and a line begins with a thread
        self._set("set_event_pid", str(os.getpid()))
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


def parse(lines: Iterable[str]) -> dict[str, TracedRequest]:
    """Parse a trace, and return what it has of each request by request id."""
    return _Parser().parse(lines)


class _Parser:
    def __init__(self) -> None:
        self._requests: dict[str, TracedRequest] = {}
        self._sockets: dict[tuple[str, int], TracedRequest] = {}  # open connections by process and descriptor
        self._announced: dict[str, TracedRequest] = {}  # by thread: the request that it writes for
        self._begun: dict[tuple[str, str], tuple[int, Callable[[Call], None]]] = {}  # by thread and name of the call

    def parse(self, lines: Iterable[str]) -> dict[str, TracedRequest]:
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                continue
            thread, process, seconds, micros, mark, call, descriptor, arguments, result = found.groups()
            t_ns = int(seconds) * 10**9 + int(micros) * 1000
            if not process.isdecimal():
                raise RuntimeError(f"the trace does not have the process of thread {thread}")
            if mark:
                self._mark(mark.split(), thread, process, t_ns)
            elif descriptor:
                self._begin(call, thread, (process, int(descriptor, 0)), arguments, t_ns)
            elif begun := self._begun.pop((thread, call), None):
                size = int(result, 0)
                begin_ns, end = begun
                end(Call(begin_ns, t_ns, size if size < 2**63 else size - 2**64))
        return self._requests

    def _mark(self, words: list[str], thread: str, process: str, t_ns: int) -> None:
        kind, request_id, *rest = words
        request = self._requests.setdefault(request_id, TracedRequest())
        if kind == "socket":
            self._sockets[process, int(rest[0])] = request
        elif kind == "made":
            request.made += 1
        elif kind == "called":
            request.called_ns = t_ns
        elif kind == "returned":
            request.returned_ns = t_ns
        elif kind == "start":
            request.started_ns[rest[0]] = t_ns
        elif kind == "end":
            request.ended_ns[rest[0]] = t_ns
        else:
            self._announced[thread] = request

    def _begin(self, call: str, thread: str, descriptor: tuple[str, int], arguments: str, t_ns: int) -> None:
        request = self._sockets.get(descriptor)
        if call == "write" and descriptor[1] == LOG_FD and thread in self._announced:
            self._begun[thread, call] = t_ns, self._announced.pop(thread).writes.append
        elif request is None or (call == "shutdown" and arguments.endswith(_RECEIVING_ONLY)):
            pass
        elif call in SENDS:
            self._begun[thread, call] = t_ns, request.send
        else:
            self._begun[thread, call] = t_ns, request.close
            if call == "close":  # the next connection may get the same number
                del self._sockets[descriptor]
