"""How the tests start fastbg: a fork behaves as a new interpreter does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.support import forks
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg
from tests.support.servers import ROOT

pytestmark = pytest.mark.skipif(not forks.are_possible(), reason="each fastbg is a new interpreter")

STATE = """
import json, os, signal, sys, threading
main = sys.modules["__main__"]
print(json.dumps({
    "arguments": sys.argv,
    "environment": dict(os.environ),
    "files": [number for number in range(100) if os.path.exists(f"/proc/self/fd/{number}")],
    "folder": os.getcwd(),
    "handlers": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
    "is_leader": os.getsid(0) == os.getpid(),
    "main": [main is __import__("__main__"), main.__name__, main.__spec__, hasattr(main, "__file__")],
    "parent": os.getppid(),
    "path": sys.path,
    "streams": [
        [stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.fileno(), stream.isatty()]
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "thread": threading.current_thread() is threading.main_thread() and threading.get_native_id() == os.getpid(),
}))
"""
IS_FORK = "import sys; print('fastbg.report.console' in sys.modules)"
NESTED = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, print)
options = [sys.executable, "-P", "-c", *sys.argv[1:]]
sys.exit(subprocess.run(options, stdin=subprocess.DEVNULL, start_new_session=True).returncode)
"""
ENDS = [
    "raise SystemExit",
    "import sys; sys.exit(3)",
    "import sys; sys.exit('so it ends')",
    "import atexit; atexit.register(print, 'at exit'); print('before')",
    "import threading, time; threading.Timer(0, lambda: print('of a thread')).start()",
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "import os, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGPIPE)",
]
COMMANDS = [
    ["--version"],
    ["demo", "--list"],
    ["demo", "nowhere.toml"],
    ["explain", "evidence"],
    ["report"],
    ["serve", "nowhere:app"],
    ["show", "inline"],
    ["tail", "--no-follow", "nowhere.txt"],
]


@pytest.fixture(params=[[], [NESTED]], ids=["by a test", "by fastbg"])
def before(request: pytest.FixtureRequest) -> list[str]:
    """The program that starts the other one, if it is not the test."""
    before: list[str] = request.param
    return before


def python(
    *words: str, folder: Path, how: AbstractContextManager[None] | None = None
) -> subprocess.CompletedProcess[str]:
    with how or nullcontext():
        return subprocess.run(
            [sys.executable, "-P", "-c", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=folder,
            env=environment(PYTHONPATH=f"here{os.pathsep}/nowhere", OWN="ä\n="),
            timeout=PATIENCE_S,
            check=False,
            text=True,
        )


def test_fork_is_used(before: list[str], tmp_path: Path) -> None:
    assert python(*before, IS_FORK, folder=tmp_path).stdout == "True\n"
    assert python(*before, IS_FORK, folder=tmp_path, how=forks.not_used()).stdout == "False\n"


def test_fork_finds_what_a_new_interpreter_finds(before: list[str], tmp_path: Path) -> None:
    words = [*before, STATE, "one", "two words"]
    forked, new = (
        json.loads(python(*words, folder=tmp_path, how=how).stdout) for how in (nullcontext(), forks.not_used())
    )
    if before:
        assert forked.pop("parent") != new.pop("parent")
    assert forked == new


@pytest.mark.parametrize("program", ENDS)
def test_fork_ends_as_a_new_interpreter(before: list[str], program: str, tmp_path: Path) -> None:
    forked, new = (python(*before, program, folder=tmp_path, how=how) for how in (nullcontext(), forks.not_used()))
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_exception_is_shown_by_a_fork(before: list[str], tmp_path: Path) -> None:
    result = python(*before, "raise ValueError('told')", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("\nValueError: told\n")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_command_prints_the_same_in_a_fork(arguments: list[str], tmp_path: Path) -> None:
    forked = fastbg(*arguments, cwd=tmp_path)
    with forks.not_used():
        new = fastbg(*arguments, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_inherited_files_keep_their_numbers(tmp_path: Path) -> None:
    ends = os.pipe()
    program = f"import os; os.write({ends[1]}, b'found'); print(os.path.exists('/proc/self/fd/{ends[0]}'))"
    result = subprocess.run([sys.executable, "-P", "-c", program], pass_fds=[ends[1]], capture_output=True, check=True)
    assert (result.stdout, os.read(ends[0], 100)) == (b"False\n", b"found")
    for end in ends:
        os.close(end)


def test_fork_is_a_child_that_can_be_killed(tmp_path: Path) -> None:
    with subprocess.Popen([*FASTBG, "tail"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.kill()
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ([*FASTBG, "worker"], {}),
        ([*FASTBG, "run", "--", "true"], {}),
        ([sys.executable, "-c", ""], {}),
        ([sys.executable, "-X", "importtime", "-m", "fastbg"], {}),
        ([*FASTBG], {"PYTHONOPTIMIZE": "1"}),
        ([*FASTBG], {"LC_ALL": "C.ascii"}),
        ([*FASTBG], {"PYTHONPATH": "customized"}),
    ],
)
def test_what_needs_a_new_interpreter_gets_one(
    arguments: list[str], variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("customized").mkdir()
    Path("customized", "sitecustomize.py").touch()
    assert forks.can_be_forked([*FASTBG, "demo"], environment())
    assert not forks.can_be_forked(arguments, environment(**variables))


def test_fork_has_the_fastbg_that_pythonpath_names(tmp_path: Path) -> None:
    copy, folder = tmp_path / "copy", tmp_path / "folder"
    folder.mkdir()
    shutil.copytree(ROOT / "fastbg", copy / "fastbg", ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "fastbg" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write('__version__ = "another"\n')
    program = """
from tests.support import forks, processes
forks.install()
print(processes.fastbg("--version").stdout.decode())
"""
    variables = environment(PYTHONPATH=f"{copy}{os.pathsep}{ROOT}")
    command = [sys.executable, "-P", "-c", program]
    with forks.not_used():
        result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("fastbg another\n")
