"""A process that has imported fastbg and its libraries, and forks itself for each command of the tests.

Importing takes longer than most of the tests. Each message on the inherited socket is a `Command` with its open files;
the answer is the process id. The new process is a child of the process that asks, which can wait for it and end it
as if it had started Python itself. It starts the servers of fastbg by one more fork, see `_fork_exec`.
"""

import _posixsubprocess
import asyncio
import atexit
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypedDict

# Not the example apps: importing them reads the environment. Nor what imports Taskiq: the recorder would notice it.
ROOMS = ("commands", "evidence", "follow", "recorder", "report", "run", "scripting", "server")
LIBRARIES = (
    "anyio._backends._asyncio",
    "ctypes.util",
    "encodings.idna",
    "httpcore",
    "inotify_simple",
    "pydantic.v1",
    "pygments.lexers.python",
    "pygments.lexers.shell",
    "pygments.styles.monokai",
    "rich._emoji_codes",
    "rich.markdown",
    "uvicorn.__main__",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
PATH_VARIABLE = "TEMPLATE_PYTHONPATH"  # the PYTHONPATH of the tests: not PYTHONPATH, whose folders a fork may not have
MAX_MESSAGE = 1 << 20
MAX_FILES = 20

# From linux/sched.h: the parent of the new process is the parent of this one; its thread id is written to an address.
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}  # asm/unistd.h
_PR_GET_TID_ADDRESS = 40  # linux/prctl.h

# Of `subprocess.Popen`: process_group, group, extra_groups, user, umask.
NO_OTHER_OPTIONS = (-1, None, None, None, -1)

_libc = ctypes.PyDLL(None)
_PATH = sys.path[:]


class Command(TypedDict):
    """A Python program to run.

    ``words``: the command line after the name of the interpreter. ``numbers``: the descriptors of its open files.
    ``session``: whether to run it in a session of its own. ``terminal``: whether its input is its controlling terminal.
    """

    words: list[str]
    numbers: list[int]
    folder: str
    environment: dict[str, str]
    session: bool
    terminal: bool


def is_possible() -> bool:
    """Whether this system can fork on behalf of the parent."""
    return sys.platform == "linux" and os.uname().machine in _SYS_CLONE and _tid_address() != 0


def _tid_address() -> int:
    """Return where the C library keeps the id of this thread; 0 if the kernel does not tell."""
    address = ctypes.c_void_p()
    _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
    return address.value or 0


def main() -> None:
    _search(os.environ.pop(PATH_VARIABLE, ""))
    _import_everything()
    gc.collect()
    gc.freeze()  # else the first collection in a fork copies all pages
    if (command := _receive(socket.socket(fileno=int(sys.argv[1])))) is not None:
        subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]
        _run(command)


def _import_everything() -> None:
    (folder,) = importlib.import_module("fastbg").__path__
    modules = [f"fastbg.{room}.{path.stem}" for room in ROOMS for path in Path(folder, room).glob("[!_]*.py")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic.v1, in new versions of Python
        for name in ("fastbg.cli", *sorted({*modules} - {"fastbg.recorder.taskiq"}), *LIBRARIES):
            importlib.import_module(name)


def _receive(requests: socket.socket) -> Command | None:
    """Fork for each message. Return the command in the fork, and None when the other end is closed."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, MAX_MESSAGE, MAX_FILES)
        if not message:
            return None
        if process := _fork():
            for file in files:
                os.close(file)
            requests.send(str(process).encode())
            continue
        requests.detach()
        command: Command = json.loads(message)
        _take_files(dict(zip(command["numbers"], files, strict=True)))
        return command


def _fork() -> int:
    """Fork as `os.fork` does, but with the parent of this process as the parent. This process has a single thread."""
    flags = _CLONE_PARENT | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID | signal.SIGCHLD
    address = ctypes.c_void_p(_tid_address())  # the last argument but one on x86-64, else the last
    ctypes.pythonapi.PyOS_BeforeFork()
    process: int = _libc.syscall(_SYS_CLONE[os.uname().machine], flags, None, None, address, address)
    if process:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    if process < 0:
        raise OSError("no process could be forked")
    return process


def _take_files(files: Mapping[int, int]) -> None:
    """Give each open file its number, and close all others. ``files``: number to present descriptor."""
    limit = os.sysconf("SC_OPEN_MAX")
    above = max([*files.keys(), *files.values()]) + 1
    moved = {number: fcntl.fcntl(file, fcntl.F_DUPFD, above) for number, file in files.items()}
    for number, file in moved.items():
        os.dup2(file, number)
    kept = sorted(files)
    for first, last in zip([-1, *kept], [*kept, limit], strict=True):
        if last > first + 1:  # CPython closes all if there is none
            os.closerange(first + 1, last)


def _fork_exec(*words: Any) -> int:
    """Start a process for `subprocess.Popen`: by a fork if it is a Python program of fastbg.

    The arguments are those of ``_posixsubprocess.fork_exec``. With several threads a fork might find a lock taken.
    """
    program, _, _, inherited, folder, environment = words[:6]
    streams, error_pipe, session, preexec = (words[6], words[9], words[11]), words[13], words[15], words[21]
    command = [os.fsdecode(word) for word in program]
    is_plain = preexec is None and words[16:21] == NO_OTHER_OPTIONS
    if command[:3] != [sys.executable, "-P", "-c"] or not is_plain or threading.active_count() > 1:
        process: int = _posixsubprocess.fork_exec(*words)
        return process
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a fork may discard a KeyboardInterrupt
    process = os.fork()
    if not process:
        gc.freeze()  # nothing of the parent is finalized or closed here
        _forget_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        files = {number: number if stream == -1 else stream for number, stream in enumerate(streams)}
        _take_files(files | {number: number for number in inherited if number != error_pipe})
        _run(
            Command(
                words=command[1:],
                numbers=[],
                folder=os.fsdecode(folder or "."),
                environment=variables(environment),
                session=session,
                terminal=False,
            )
        )
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return process


def variables(environment: Sequence[bytes] | None) -> dict[str, str]:
    """Return the environment that `subprocess.Popen` passes on, as a dictionary."""
    if environment is None:
        return dict(os.environ)
    return {name: value for name, _, value in (os.fsdecode(pair).partition("=") for pair in environment)}


def _forget_parent() -> None:
    """Remove the signal handlers, the event loop and the functions at exit of the parent."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    asyncio._set_running_loop(None)
    atexit._clear()


def _run(command: Command) -> NoReturn:
    """Run a program as a new interpreter does, and exit."""
    if command["session"]:
        os.setsid()
    if command["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    time.tzset()
    _open_streams()
    importlib.invalidate_caches()
    _search(os.environ.get("PYTHONPATH", ""))
    match command["words"]:
        case ["-m", module, *arguments]:
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = ["-m", *arguments]
            _finish(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
        case ["-P", "-c", code, *arguments]:
            sys.argv = ["-c", *arguments]
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            _finish(lambda: exec(code, main.__dict__))
        case words:
            raise ValueError(words)


def _search(paths: str) -> None:
    """Search modules in ``paths``, the value of PYTHONPATH, and where each interpreter does."""
    sys.path[:] = [*(str(Path(path).absolute()) for path in paths.split(os.pathsep) if path), *_PATH]


def _open_streams() -> None:
    """Open the standard streams as the interpreter does, which knows the locale and PYTHONUNBUFFERED."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old: io.TextIOWrapper = getattr(sys, f"__{name}__")
        buffering = 0 if number and old.write_through else -1
        file = open(number, "wb" if number else "rb", buffering, closefd=False)  # noqa: SIM115
        by_line = not old.write_through and (name == "stderr" or file.isatty())
        stream = io.TextIOWrapper(file, old.encoding, old.errors, "\n", by_line, old.write_through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _finish(run: Callable[[], object]) -> NoReturn:
    """Run a program to its end, and exit as Python does, but without freeing each object: that takes as long."""
    code = _exit_code(run)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as CPython
    os._exit(code)


def _exit_code(run: Callable[[], object]) -> int:
    try:
        run()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001  # as the interpreter does
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    main()
