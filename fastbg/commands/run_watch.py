"""Says on standard error if `fastbg run` has attached the recorder to no process of a command.

After `exec` nothing of fastbg remains in the command's process. So a process of its own reads the journal until the
first process of the command records, or the command has ended and left no process, such as a daemon. An app may take a
minute to import: after the notice that nothing is recorded yet, the first process that records is announced as well.
"""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastbg.clock import monotonic, monotonic_ns
from fastbg.errors import FastbgError
from fastbg.events import Appended
from fastbg.follow.journal import FollowedJournal
from fastbg.output import notify, report_error

NOTICE_S = 30.0  # a server that is not recorded by then gets a notice, while it still runs
MAX_WAIT_S = 1.0
EXPLAIN = "run `fastbg explain run`: it names the servers, and what prevents Python from loading fastbg"


def watch(journal: Path, run: str, command: str) -> int:
    """Start the process that watches this one, which is about to become ``command``. ``run``: the id in the journal.

    Return a descriptor to write to if the command cannot be started: then there is nothing to say about it.
    """
    followed = FollowedJournal(journal)
    followed.begin(monotonic_ns(), at_end=True)
    has_ended = _end_of(os.getpid())
    failure, starting = os.pipe()  # the new program does not inherit them
    if child := os.fork():
        os.waitpid(child, 0)  # the command gets no child process that it does not know
        followed.close()
        os.close(failure)
        return starting
    try:
        os.close(starting)
        if os.fork() == 0:
            os.setsid()  # a Ctrl-C in the terminal is for the command
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            _watch(
                followed,
                f'"run":"{run}"'.encode(),
                has_ended,
                lambda: _has_processes(run),
                lambda: not os.read(failure, 1),
                command,
            )
    finally:
        os._exit(0)


def _watch(
    followed: FollowedJournal,
    wanted: bytes,
    has_ended: Callable[[float], bool],
    has_processes: Callable[[], bool],
    has_started: Callable[[], bool],
    command: str,
) -> None:
    begin, wait_s, ended, noticed, left = monotonic(), 0.05, False, False, True
    tail = b""
    while left:
        if ended:
            time.sleep(wait_s)
        else:
            ended = has_ended(wait_s)
        left = not ended or has_processes()  # before the journal is read: what they wrote until then is in it
        wait_s = min(2 * wait_s, MAX_WAIT_S)
        followed.refresh(monotonic_ns())
        while item := followed.take():
            if isinstance(item, Appended):
                tail = tail[-len(wanted) :] + item.data
                if wanted in tail:
                    if noticed:
                        _say(lambda: notify(f"fastbg: now recording {command}"))
                    return
        if left and not noticed and monotonic() - begin > NOTICE_S:
            noticed = True
            _report(
                f"after {NOTICE_S:.0f} s no process of this command is recorded yet",
                command,
                f"wait if the app is still starting; otherwise {EXPLAIN}",
            )
        if ended and left and noticed:
            return  # a daemon may run for weeks, and this process keeps standard error open
    if has_started():
        _report("no process of this command was recorded", command, EXPLAIN)


def _report(what: str, command: str, remedy: str) -> None:
    _say(lambda: report_error(FastbgError(what, where=command, remedy=remedy)))


def _say(write: Callable[[], None]) -> None:
    with suppress(OSError):  # the terminal was closed
        write()


def _has_processes(run: str) -> bool:
    """Return whether a process of the command is left: they inherit its environment. False without ``/proc``."""
    variable = f"FASTBG_RUN={run}".encode()
    seen: set[Path] = set()
    # A daemon is the child of a child that has ended: look at processes that began while others were looked at, too.
    while new := set(Path("/proc").glob("[0-9]*")) - seen:
        if any(variable in _environment(process) for process in new):
            return True
        seen |= new
    return False


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # the process has ended, or belongs to another user
        return []


def _end_of(pid: int) -> Callable[[float], bool]:
    """Return a function that waits up to some seconds for the end of a process, and returns whether it has ended."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            poll = select.poll()
            poll.register(os.pidfd_open(pid), select.POLLIN)  # the new program does not inherit it
            return lambda seconds: bool(poll.poll(seconds * 1000))
    return lambda seconds: _is_gone(pid, seconds)


def _is_gone(pid: int, seconds: float) -> bool:
    time.sleep(seconds)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it has become another user
        pass
    return False
