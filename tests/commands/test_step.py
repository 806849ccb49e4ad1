"""`fastbg demo --step`: pauses, keys on a terminal, lines in a pipe."""

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.processes import (
    FASTBG,
    PATIENCE_S,
    environment,
    fastbg,
    read_rest,
    read_until,
    terminal,
    wait_until,
)
from tests.support.servers import ROOT

FAST = ("--work", "0")
SCRIPT = """
app = "tests.apps.scripted:app"
folder = "${dir}"
follow = ["log.txt"]
title = "What is written?"

[[part]]
name = "trap"
about = "Nothing is written."
[[part.request]]
name = "port"
about = "It asks for the port of the client."
path = "/port"
expect.verdict = "no-work"
[[part.request]]
name = "write"
method = "POST"
path = "/write"
query = { text = "hello ${mark}\\n" }
after = "meanwhile"
expect.writes = [{ file = "log.txt", text = "hello ${mark}\\n" }]

[[part]]
name = "remedy"
env = { GREETING = "hi" }
[[part.request]]
name = "pid"
path = "/echo"
repeat = 2
expect.verdict = "no-work"
"""


def piped(keys: bytes, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``fastbg demo --step`` with ``keys`` as its standard input."""
    command = [*FASTBG, "demo", "--step", *arguments]
    result = subprocess.run(
        command, input=keys, capture_output=True, env=environment(PYTHONPATH=str(ROOT)), cwd=cwd, timeout=PATIENCE_S
    )
    assert result.stderr == b""
    return subprocess.CompletedProcess(command, result.returncode, result.stdout.decode())


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(SCRIPT)
    return path


def bars(text: str) -> list[str]:
    """Return the names before the bars in ``text``."""
    return re.findall(r"^(\S.*?) +[━●]", text.partition("ms since sent")[0], re.MULTILINE)


# what is shown


def test_step_shows_the_plan_and_what_each_request_does(script: Path, tmp_path: Path) -> None:
    before, first, second, _ = piped(b"", script.name, cwd=tmp_path).stdout.split("Press Enter")
    assert [line.rstrip() for line in before.partition("my  ")[2].splitlines()] == [
        "tests.apps.scripted:app",
        "What is written?",
        "This run sends 4 requests in 2 steps (parts: trap, remedy), and pauses before",
        "each step.",
        "",
        "trap: Nothing is written.",
        "1/2  trap: port  GET /port",
        "     It asks for the port of the client.",
        "     write  POST /write",
    ]
    assert "2/2  remedy: pid  GET /echo, 2 times" in first
    assert "2/2  All steps are done." in second


def test_step_shows_the_bars_since_the_last_pause(script: Path, tmp_path: Path) -> None:
    _, first, second, _ = piped(b"", script, cwd=tmp_path).stdout.split("Press Enter")
    assert (bars(first), bars(second)) == (["port", "write"], ["pid, 2 times"])


def test_step_without_anybody_at_the_keyboard_goes_on(tmp_path: Path) -> None:
    result = fastbg("demo", "--step", *FAST, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.count(b"Press Enter") == 8


# keys in a pipe


def test_lines_of_a_pipe_are_keys(script: Path, tmp_path: Path) -> None:
    result = piped(b"\nr\nx\nr\n\n\n", script, cwd=tmp_path)
    *pauses, report = result.stdout.split("Press Enter")
    assert [bars(text) for text in pauses] == [
        [], ["port", "write"], ["port #2", "write #2"], [], ["port #3", "write #3"], ["pid, 2 times"],
    ]  # fmt: skip
    assert bars(report) == ["port", "write", "port #2", "write #2", "port #3", "write #3", "pid, 2 times"]
    assert "stopped with q" not in report
    assert result.returncode == 0


def test_q_ends_the_run_with_what_was_seen(script: Path, tmp_path: Path) -> None:
    result = piped(b"\nq\n", script, cwd=tmp_path)
    assert result.stdout.count("Press Enter") == 2
    report = result.stdout.rpartition("Press Enter")[2]
    assert bars(report) == ["port", "write"]
    assert "stopped with q: sent 2 of 4 requests" in report
    assert "Evidence in" in report
    assert result.returncode == 0


def test_q_before_the_first_request_ends_the_run(script: Path, tmp_path: Path) -> None:
    result = piped(b"q\n", script, cwd=tmp_path)
    assert "stopped with q: sent 0 of 4 requests" in result.stdout
    assert result.returncode == 0


def test_q_ends_a_run_of_several_scripts(script: Path, tmp_path: Path) -> None:
    result = piped(b"q\n", script, "default", cwd=tmp_path)
    assert result.stdout.count("Press Enter") == 1
    assert "sent 0 of 4 requests" in result.stdout


def test_q_after_an_unmet_expectation_exits_with_1(script: Path, tmp_path: Path) -> None:
    script.write_text(SCRIPT.replace('expect.verdict = "no-work"', "expect.status = 201", 1))
    assert piped(b"\nq\n", script, cwd=tmp_path).returncode == 1


def test_s_shows_the_source_of_the_next_step(script: Path, tmp_path: Path) -> None:
    _, first, _, second, _ = re.split(
        "(?<=s for the source), q to quit", piped(b"s\n\ns\n", script, cwd=tmp_path).stdout
    )
    assert 'path = "/port"' in first
    assert 'path = "/write"' in first
    assert "remedy" not in first
    assert 'path = "/echo"' in second
    assert "/write" not in second


def test_step_after_a_signal_can_be_sent_again(tmp_path: Path) -> None:
    result = piped(b"\nr\n", "sigterm:trap", cwd=tmp_path)
    assert result.returncode == 0
    assert "in a thread #2" in result.stdout


# keys on a terminal


def is_waiting_for_lines(terminal: int) -> bool:
    """Whether the terminal has its ordinary settings."""
    flags = termios.tcgetattr(terminal)[3]
    return bool(flags & termios.ICANON and flags & termios.ECHO)


def test_keys_of_a_terminal_need_no_enter(script: Path, tmp_path: Path) -> None:
    with terminal("demo", "--step", script, cwd=tmp_path, PYTHONPATH=str(ROOT)) as (process, screen):
        read_until(screen, b"Press Enter")
        os.write(screen, b"\n")
        read_until(screen, b"Press Enter.*repeat")
        os.write(screen, b"r")
        read_until(screen, b"(?s)write #2.*Press Enter")
        os.write(screen, b"\x1b[A")
        read_until(screen, b"Press Enter")
        os.write(screen, b"s")
        read_until(screen, b"(?s)repeat.*Press Enter")
        os.write(screen, b"q")
        assert b"sent 2 of 4 requests" in read_rest(screen)
        assert process.wait(PATIENCE_S) == 0
        assert is_waiting_for_lines(screen)


@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_terminal_is_as_before_after_an_interrupt(tmp_path: Path, typed: bytes | signal.Signals, code: int) -> None:
    with terminal("demo", "--step", *FAST, cwd=tmp_path) as (process, screen):
        read_until(screen, b"Press Enter")
        assert not is_waiting_for_lines(screen)
        if isinstance(typed, bytes):
            os.write(screen, typed)
        else:
            process.send_signal(typed)
        assert b"Traceback" not in read_rest(screen)
        assert process.wait(PATIENCE_S) == code
        assert is_waiting_for_lines(screen)


SHELL = """
import os, signal, subprocess, sys, termios

def take_terminal():
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)

child = subprocess.Popen([sys.executable, "-m", "fastbg", *sys.argv[1:]], preexec_fn=take_terminal)
_, status = os.waitpid(child.pid, os.WUNTRACED)
settings = "ordinary" if termios.tcgetattr(0)[3] & termios.ICANON else "changed"
print("stopped" if os.WIFSTOPPED(status) else status, settings, flush=True)
os.kill(child.pid, signal.SIGCONT)
sys.exit(child.wait())
"""


def test_terminal_is_as_before_while_the_run_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FASTBG", (sys.executable, "-c", SHELL))
    with terminal("demo", "--step", *FAST, cwd=tmp_path) as (process, screen):
        read_until(screen, b"Press Enter")
        os.write(screen, b"\x1a")
        read_until(screen, b"stopped ordinary")
        wait_until(lambda: not is_waiting_for_lines(screen))
        os.write(screen, b"q")
        assert b"sent 0 of 7 requests" in read_rest(screen)
        assert process.wait(PATIENCE_S) == 0
