"""Terminals that shrink or close while fastbg writes to them, and pipes without a reader."""

import asyncio
import io
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from rich.console import Console

from fastbg.output import ignore_broken_pipe
from fastbg.report.console import final, live
from fastbg.report.screen import Screen
from fastbg.run.stepping import Pause
from fastbg.server.signals import on_second_interrupt
from tests.commands.test_demo import pids, until_gone
from tests.support.journals import events_of
from tests.support.processes import (
    FASTBG,
    PATIENCE_S,
    environment,
    fastbg,
    hang_up,
    read_rest,
    read_until,
    resize,
    terminal,
    wait_for,
)
from tests.support.results import run
from tests.support.servers import ROOT, URL, fetch

ABSURD = [(3, 10), (1, 1), (2, 500), (0, 0), (500, 2)]  # rows and columns


# resized terminal


def test_picture_goes_on_in_a_window_of_any_size(tmp_path: Path) -> None:
    with terminal("demo", "--work", "3600", cwd=tmp_path) as (process, screen):
        read_until(screen, b"(?s)control.*control")
        for rows, columns in [*ABSURD, (40, 80)]:
            resize(screen, rows, columns)
            read_until(screen, rb"(?s)\x1b\[H.*\x1b\[H")  # a redraw
        read_until(screen, b"(?s)control.*control")
        os.write(screen, b"\x03")
        shown = read_rest(screen)
        assert process.wait(PATIENCE_S) == 130
    assert b"Traceback" not in shown


@pytest.mark.parametrize("columns", [1, 2, 3, 10, 26, 27])
def test_report_can_be_shown_in_a_window_of_any_width(columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns, height=1, force_terminal=True)
    console.print(live(run(), encoding="utf-8", now_ns=10**9))
    console.print(final(run(), encoding="utf-8"))


# closed terminal


@pytest.mark.parametrize("more", [[], ["--step"]], ids=["picture", "pause"])
def test_demo_ends_with_its_server_when_its_terminal_is_closed(tmp_path: Path, more: list[str]) -> None:
    complaints = tmp_path / "complaints"
    with (
        complaints.open("wb") as stderr,
        terminal("demo", "--work", "3600", *more, cwd=tmp_path, stderr=stderr) as (process, screen),
    ):
        read_until(screen, b"Press Enter" if more else b"control")
        wait_for(tmp_path / ".fastbg" / "journal.jsonl", b"request_received")
        hang_up(screen)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGHUP
    (server,) = pids(tmp_path / ".fastbg")
    until_gone(server)
    assert complaints.read_bytes() == b""


def test_closed_terminal_ends_server_and_workers_after_tasks(tmp_path: Path) -> None:
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    (tmp_path / "own.py").write_text(
        "import os, time\nfrom fastapi import BackgroundTasks, FastAPI\napp = FastAPI()\n"
        "def work():\n    while not os.path.exists('now'):\n        time.sleep(0.005)\n"
        "@app.get('/work')\nasync def start(tasks: BackgroundTasks):\n    tasks.add_task(work)\n"
    )
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        terminal("serve", "own:app", "--port", "0", "--workers", "2", cwd=tmp_path, stderr=stderr) as (process, screen),
    ):
        found = re.search(URL, read_until(screen, URL))
        assert found
        wait_for(log, b"(?s)startup complete.*startup complete")
        fetch("GET", f"{found[1].decode()}/work", headers={"X-Fastbg-Request-ID": "1"})
        events_of(journal, "1", until="task_started")
        hang_up(screen)
        wait_for(log, b"Waiting for background tasks to complete")
        (tmp_path / "now").touch()
        assert process.wait(PATIENCE_S) == 0
    assert [event["event"] for event in events_of(journal, "1")][-2:] == ["task_finished", "request_finished"]
    assert b"Traceback" not in log.read_bytes()


@contextmanager
def handlers() -> Iterator[list[int]]:
    """Install signal handlers and yield the received signals. Restore the old handlers at the end."""
    got: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = [signal.signal(number, lambda number, _: got.append(number)) for number in numbers]
    try:
        yield got
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def test_closed_terminal_counts_as_sigterm() -> None:
    with handlers() as got:
        on_second_interrupt(lambda: got.append(-1), lambda: got.append(0))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
    assert got == [signal.SIGTERM, 0, signal.SIGTERM, -1, signal.SIGINT]


def test_sigterm_after_the_first_sigint_makes_it_no_second() -> None:
    """A reloader gets the Ctrl-C, too, and terminates its server process, which may still handle the first signal."""
    server = uvicorn.Server(uvicorn.Config("app"))
    begun: list[int] = []

    def begin() -> None:
        begun.append(1)
        signal.raise_signal(signal.SIGTERM)

    with handlers():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)
        on_second_interrupt(lambda: pytest.fail("one Ctrl-C"), begin)
        signal.raise_signal(signal.SIGINT)
    assert (server.should_exit, server.force_exit, begun) == (True, False, [1])


def test_closed_terminal_is_nothing_to_a_server_under_nohup() -> None:
    with handlers() as got:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        on_second_interrupt(lambda: got.append(-1))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
    assert got == [signal.SIGINT]


def test_closed_terminal_ends_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo gets no signal, because it is not in the session of the terminal, as after ``setsid``."""
    ours, theirs = pty.openpty()
    os.close(ours)
    with open(theirs, encoding="utf-8") as keyboard:
        monkeypatch.setattr(sys, "stdin", keyboard)
        screen = Screen(Console(file=io.StringIO()), run, str, step=True)
        with screen:
            asyncio.run(asyncio.wait_for(screen.pause(Pause([], 0)), PATIENCE_S))


# pipe without a reader


def without_reader(*arguments: str, cwd: Path) -> tuple[int, bytes]:
    """Run fastbg with a closed standard output. Return the exit code and standard error."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [*FASTBG, *arguments]
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
        )
    finally:
        os.close(theirs)
    return result.returncode, result.stderr


def test_demo_without_a_reader_keeps_its_files_and_its_exit_code(tmp_path: Path) -> None:
    files = ("--junit", "junit.xml", "--save", "demo.svg")
    assert without_reader("demo", "--work", "0", "--timeout", str(PATIENCE_S), *files, cwd=tmp_path) == (
        0,
        b"Saved demo.svg\nSaved junit.xml\n",
    )
    assert {path.name for path in tmp_path.iterdir()} == {".fastbg", "junit.xml", "demo.svg"}
    assert without_reader("report", ".fastbg/journal.jsonl", cwd=tmp_path) == (0, b"")


@contextmanager
def standard_output(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Redirect standard output to ``descriptor``."""
    with open(descriptor, "w", encoding="ascii", errors="backslashreplace", closefd=False) as output:
        monkeypatch.setattr(sys, "stdout", output)
        ignore_broken_pipe()
        yield
        sys.stdout.close()
        assert os.fstat(descriptor)  # it must stay open
    os.close(descriptor)


def test_output_goes_nowhere_when_the_reader_of_a_pipe_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with standard_output(theirs, monkeypatch):
        print("ä 1", flush=True)
        assert os.read(ours, 100) == b"\\xe4 1\n"
        os.close(ours)
        print("x" * 10**6, flush=True)
        print("not flushed")


def test_output_goes_nowhere_when_a_terminal_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with standard_output(theirs, monkeypatch):
        print("1")
        assert read_until(ours, b"1\r\n") == b"1\r\n"  # it may arrive in pieces
        os.close(ours)
        print("x" * 10**6)
        assert sys.stdout.line_buffering


def test_other_output_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_output(os.open("/dev/full", os.O_WRONLY), monkeypatch):
        with pytest.raises(OSError, match="No space left"):
            print("x", flush=True)
        hang_up(sys.stdout.fileno())  # the rest of the buffer is written there


@pytest.mark.parametrize("size", ["0", "-5", "x", "9" * 11, "9" * 5000])
def test_size_that_no_terminal_has_is_ignored(size: str, tmp_path: Path) -> None:
    plain = fastbg("explain", "lost", cwd=tmp_path).stdout
    assert plain
    result = fastbg("explain", "lost", cwd=tmp_path, COLUMNS=size, LINES=size)
    assert (result.returncode, result.stdout, result.stderr) == (0, plain, b"")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_stream_discards_what_is_written_to_it(closed: tuple[int, ...], tmp_path: Path) -> None:
    """Its number is not given to the journal or to a connection."""
    program = (
        "import os, sys\nfor number in map(int, sys.argv[1]): os.close(number)\nos.execv(sys.argv[2], sys.argv[2:])"
    )
    numbers = "".join(map(str, closed))
    command = [sys.executable, "-c", program, numbers, *FASTBG, "demo", "--work", "0", "--dir", str(tmp_path / "data")]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, timeout=PATIENCE_S, check=False)
    assert (result.returncode, result.stderr, bool(result.stdout)) == (0, b"", 1 not in closed)


def test_deleted_current_folder_is_an_error_in_three_parts(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = "import os, sys\nos.rmdir(os.getcwd())\nos.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", program, sys.executable, "-c", "from fastbg.__main__ import main; main()", "demo"]
    result = subprocess.run(
        command,
        cwd=tmp_path / "gone",
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 2
    assert b"fastbg: the current folder does not exist any more" in result.stderr
    assert b"Traceback" not in result.stderr
