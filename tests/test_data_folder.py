"""The data folder: git ignores it if fastbg created it; an existing folder stays as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastbg.data_folder import GITIGNORE, make
from tests.support.journals import received
from tests.support.processes import PATIENCE_S, environment, fastbg
from tests.support.servers import fastbg_serve

DEMO = ("demo", "instant", "--quiet")
READERS_AND_WRITERS = (DEMO, ("serve", "--port", "0"), ("run", "--", "true"), ("report",))


@pytest.mark.parametrize("options", [(), ("--dir", "some/where")], ids=["default", "dir"])
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_ignores_a_folder_that_fastbg_created(options: tuple[str, ...], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    fastbg(*DEMO, *options, cwd=tmp_path)
    folder = tmp_path / (options[1] if options else ".fastbg")
    assert (folder / "journal.jsonl").exists()
    assert (folder / ".gitignore").read_text() == GITIGNORE
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, check=True)
    assert status.stdout == b""


def test_serve_creates_it_too(tmp_path: Path) -> None:
    with fastbg_serve(cwd=tmp_path):
        assert (tmp_path / ".fastbg" / ".gitignore").read_text() == GITIGNORE


def test_existing_folder_stays_as_it_is(tmp_path: Path) -> None:
    fastbg(*DEMO, "--dir", ".", cwd=tmp_path)
    assert (tmp_path / "journal.jsonl").exists()
    assert not (tmp_path / ".gitignore").exists()


def test_own_gitignore_is_kept(tmp_path: Path) -> None:
    make(tmp_path / "data")
    (tmp_path / "data" / ".gitignore").write_text("!log.txt\n")
    make(tmp_path / "data")
    assert (tmp_path / "data" / ".gitignore").read_text() == "!log.txt\n"


def test_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(FileExistsError):
        make(tmp_path / "data")


@pytest.mark.parametrize("command", [("tail", "--no-follow"), ("report", ".fastbg/journal.jsonl")])
def test_commands_that_read_create_nothing(command: tuple[str, ...], tmp_path: Path) -> None:
    assert fastbg(*command, cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "/dev/null", "/dev/zero"])
@pytest.mark.parametrize("command", READERS_AND_WRITERS, ids=" ".join)
def test_journal_that_is_no_file_is_refused_at_once(command: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    (tmp_path / ".fastbg").mkdir()
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    if kind == "pipe":
        os.mkfifo(journal)
    else:
        journal.symlink_to(kind)
    result = fastbg(*command, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert ("this is a named pipe" if kind == "pipe" else "this is a device") in result.stderr.decode()
    assert "\n  fix: " in result.stderr.decode()


@pytest.mark.parametrize("kind", ["pipe", "/dev/null", "folder"])
def test_followed_file_that_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('app = "fastbg.scripts.instant:app"\nfollow = ["log"]\n[[request]]\npath = "/"\n')
    log = tmp_path / "log"
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "folder":
        log.mkdir()
    else:
        log.symlink_to(kind)
    result = fastbg("demo", "s.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"only files can be followed\n  where: {log}\n  fix: " in result.stderr.decode()


def test_report_reads_the_pipe_of_another_command(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"".join([received("r1"), received("r2")]))
    script = f"{sys.executable} -m fastbg report <(cat journal.jsonl)"
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert b"2 requests: 2 " in result.stdout
