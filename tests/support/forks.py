"""Lets the tests start fastbg and its servers by forks of one process, see `tests.support.template`."""

import atexit
import fcntl
import json
import os
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import template

# Commands that another program replaces, or that import Taskiq.
NEW_INTERPRETERS = {"run", "worker"}
# Variables that only a new interpreter reads, or that a library reads when it is imported.
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "TYPER_")

_start_process = subprocess._fork_exec  # type: ignore[attr-defined]
_lock = threading.Lock()
_template: socket.socket | None = None


def take_terminal() -> None:
    """Make the standard input the controlling terminal, so that a typed ^C becomes a signal: a ``preexec_fn``."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def are_possible() -> bool:
    """Whether this system allows it and ``FASTBG_FORKS=0`` does not prevent it."""
    return template.is_possible() and os.environ.get("FASTBG_FORKS") != "0"


def install() -> None:
    """Let `subprocess.Popen` start fastbg by a fork, where that is possible."""
    if are_possible():
        subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]
        # As its documentation shows: else Python 3.13 uses it without ``cwd``.
        subprocess._USE_POSIX_SPAWN = False  # type: ignore[misc]


@contextmanager
def not_used() -> Iterator[None]:
    """Start new interpreters in this block."""
    forks = subprocess._fork_exec  # type: ignore[attr-defined]
    subprocess._fork_exec = _start_process  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess._fork_exec = forks  # type: ignore[attr-defined]


def _fork_exec(*words: Any) -> int:
    """Start a process for `subprocess.Popen`. The arguments are those of ``_posixsubprocess.fork_exec``."""
    program, _, _, inherited, folder, environment = words[:6]
    streams, error_pipe, session, preexec = (words[6], words[9], words[11]), words[13], words[15], words[21]
    command, variables = [os.fsdecode(word) for word in program], template.variables(environment)
    is_plain = preexec in (None, take_terminal) and words[16:21] == template.NO_OTHER_OPTIONS
    if not is_plain or not can_be_forked(command, variables):
        process: int = _start_process(*words)
        return process
    files = {number: number if stream == -1 else stream for number, stream in enumerate(streams)}
    files |= {number: number for number in inherited if number != error_pipe}
    request = template.Command(
        words=command[1:],
        numbers=[*files],
        folder=str(Path(os.fsdecode(folder or ".")).absolute()),
        environment=variables,
        session=session,
        terminal=preexec is take_terminal,
    )
    with _lock:
        requests = _requests()
        socket.send_fds(requests, [json.dumps(request).encode()], [*files.values()])
        process_id = requests.recv(100)
    if not process_id:
        raise ChildProcessError("the process that imports fastbg for the tests has ended: see its traceback")
    return int(process_id)


def can_be_forked(command: list[str], variables: Mapping[str, str]) -> bool:
    """Whether ``command`` with these environment variables does the same in a fork."""
    match command:
        case [sys.executable, "-m", "fastbg", *arguments]:
            same = not NEW_INTERPRETERS & {*arguments[:1]}
        case [sys.executable, "-m", "uvicorn", *_] | [sys.executable, "-P", "-c", *_]:
            same = True
        case _:
            same = False
    paths = map(Path, variables.get("PYTHONPATH", "").split(os.pathsep))
    customized = any(path.joinpath("sitecustomize.py").exists() for path in paths)
    return same and not customized and _read_at_start(variables) == _read_at_start(os.environ)


def _read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(READ_AT_START) and name != "PYTHONPATH"}


def start() -> None:
    """Start the template now: for tests that look for new files and child processes of this process."""
    _requests()


def _requests() -> socket.socket:
    """Return the socket of the template, which is started for the first command."""
    global _template
    if _template is None:
        _template, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _template.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, template.MAX_MESSAGE)
        variables = dict(os.environ)
        variables[template.PATH_VARIABLE] = variables.pop("PYTHONPATH", "")
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", template.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=variables,
            )
        atexit.register(_stop, _template, process)
    return _template


def _stop(requests: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    requests.close()
    process.wait()
