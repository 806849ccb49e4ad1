"""``fastbg run``: it becomes the command, and says if nothing was recorded."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastbg.commands import run_watch
from fastbg.follow.journal import FollowedJournal
from tests.support.processes import FASTBG, PATIENCE_S, environment, wait_for

NOTHING = "fastbg: no process of this command was recorded"


def run(*arguments: str, cwd: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run fastbg to the end of the command and of the notice. Return the result, and the process id."""
    process = subprocess.Popen(
        [*FASTBG, "run", *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr), process.pid


def test_it_becomes_the_command_with_its_exit_code(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    result, pid = run("--", sys.executable, "-c", code, "--dir", "x y", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (7, f"{pid} ['--dir', 'x y']\n")
    assert result.stderr.startswith(NOTHING)


def test_options_of_the_command_need_no_dashes(tmp_path: Path) -> None:
    result, _ = run("--dir", "data", "sh", "-c", "echo $FASTBG_DIR", cwd=tmp_path)
    assert result.stdout == f"{tmp_path / 'data'}\n"
    assert (tmp_path / "data" / "journal.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])
def test_a_signal_reaches_the_command(number: signal.Signals, tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = subprocess.Popen(
        [*FASTBG, "run", "--", "sh", "-c", f"echo > {started}; exec sleep 3600"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    wait_for(started, b"\n")
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == -number


def test_the_command_has_no_child_that_it_does_not_know(tmp_path: Path) -> None:
    code = "import os\ntry:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('none')\n"
    result, _ = run("--", sys.executable, "-c", code, cwd=tmp_path)
    assert result.stdout == "none\n"


def test_an_unrecorded_command_is_named(tmp_path: Path) -> None:
    result, _ = run("--", sys.executable, "-I", "-c", "print('\x1b[31mserved')", cwd=tmp_path)
    lines = result.stderr.splitlines()
    assert [lines[0], len(lines)] == [NOTHING, 3]
    assert lines[1].startswith(f"  where: {sys.executable} -I -c print")
    assert "\x1b" not in result.stderr
    assert "fastbg explain run" in lines[2]


def test_a_long_running_unrecorded_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_watch, "NOTICE_S", 0.0)
    ends = iter([False, False, True])
    followed = FollowedJournal(tmp_path / "journal.jsonl")
    run_watch._watch(followed, b'"run":"1"', lambda _: next(ends), lambda: False, lambda: True, "gunicorn")
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fastbg")]
    assert errors == ["fastbg: after 0 s no process of this command is recorded yet", NOTHING]


def test_a_command_that_records_late_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app of a big project may take longer to import than the notice waits."""
    monkeypatch.setattr(run_watch, "NOTICE_S", 0.0)
    journal = tmp_path / "journal.jsonl"
    waits = iter([False, True])

    def has_ended(_: float) -> bool:
        if next(waits):
            journal.write_text('{"run":"1"}\n', encoding="ascii")
        return False

    run_watch._watch(
        FollowedJournal(journal), b'"run":"1"', has_ended, lambda: False, lambda: True, "gunicorn \x1b[31m"
    )
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "fastbg: after 0 s no process of this command is recorded yet"
    assert errors[-1] == r"fastbg: now recording gunicorn \x1b[31m"


def test_an_event_of_the_run_ends_the_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "journal.jsonl"
    followed = FollowedJournal(journal)

    def has_ended(_: float) -> bool:
        with journal.open("a", encoding="ascii") as file:
            file.write('{"run":"other"}\n' if not journal.stat().st_size else '{"run":"1"}\n')
        return False

    run_watch._watch(followed, b'"run":"1"', has_ended, lambda: False, lambda: True, "gunicorn")
    assert capsys.readouterr().err == ""


def test_a_daemon_that_records_later_is_no_miss(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "start")
    record = """read line < start; echo '{"run":"'$FASTBG_RUN'"}' >> $FASTBG_DIR/journal.jsonl"""
    process = subprocess.Popen(
        [*FASTBG, "run", "--", "sh", "-c", f"( ({record}) & ) > /dev/null 2>&1 &"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.wait(PATIENCE_S) == 0
    (tmp_path / "start").write_text("now\n", encoding="utf-8")
    assert process.communicate(timeout=PATIENCE_S)[1] == ""


def test_an_unrecorded_daemon_is_named_when_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = iter([True, False])
    followed = FollowedJournal(tmp_path / "journal.jsonl")
    run_watch._watch(followed, b'"run":"1"', lambda _: True, lambda: next(left), lambda: True, "gunicorn")
    assert capsys.readouterr().err.startswith(NOTHING)


def test_the_watch_of_a_daemon_ends_with_its_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_watch, "NOTICE_S", 0.0)
    followed = FollowedJournal(tmp_path / "journal.jsonl")
    run_watch._watch(followed, b'"run":"1"', lambda _: True, lambda: True, lambda: True, "gunicorn")
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fastbg")]
    assert errors == ["fastbg: after 0 s no process of this command is recorded yet"]


def test_mistakes_are_named_before_anything_starts(tmp_path: Path) -> None:
    result, _ = run("--", "no-such-server", cwd=tmp_path)
    assert (result.returncode, result.stderr.splitlines()[0]) == (
        2,
        "fastbg: the command 'no-such-server' does not exist",
    )
    result, _ = run(cwd=tmp_path)
    assert (result.returncode, "COMMAND" in result.stderr) == (2, True)
    result, _ = run("--follow", "a:b", "true", cwd=tmp_path)
    assert (result.returncode, "':'" in result.stderr) == (2, True)
    result, _ = run("--journal-size", "1e308", "true", cwd=tmp_path)
    assert (result.returncode, "less than or equal" in result.stderr) == (2, True)
    (tmp_path / "program").write_text("nothing", encoding="utf-8")
    (tmp_path / "program").chmod(0o755)
    result, _ = run("./program", cwd=tmp_path)
    assert (result.returncode, result.stderr.splitlines()[0]) == (
        2,
        "fastbg: the command cannot be started: Exec format error",
    )
    assert "recorded" not in result.stderr
    (tmp_path / "program").chmod(0o644)
    result, _ = run("./program", cwd=tmp_path)
    assert result.stderr.startswith("fastbg: the command is not an executable file\n  where: ./program\n")


def test_pth_line_is_printed(tmp_path: Path) -> None:
    result, _ = run("--pth", cwd=tmp_path)
    assert result.stdout.startswith("import ")
    assert result.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_pythonpath_of_the_user_is_kept(tmp_path: Path) -> None:
    result, _ = run("--", "sh", "-c", "echo $PYTHONPATH", cwd=tmp_path, PYTHONPATH="/mine")
    assert [os.path.basename(each) for each in result.stdout.strip().split(":")] == ["site", "mine"]  # noqa: PTH119
