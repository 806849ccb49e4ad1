"""The servers of a run: shared by parts with the same settings, new for others, or a running server."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from fastbg.errors import ServerError
from fastbg.evidence.observer import Observer
from fastbg.follow.follower import Follower
from fastbg.run import testbed
from fastbg.run.options import RunOptions
from fastbg.run.prepare import RunPaths
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.support.processes import PATIENCE_S, fastbg, is_alive
from tests.support.servers import ROOT, fastbg_serve

REQUEST = '[[part.request]]\nname = "one"\npath = "/"\n'
PARTS = f"""
app = "tests.apps.scripted:app"
[[part]]
name = "first"
{REQUEST}
[[part]]
name = "same"
{REQUEST}
[[part]]
name = "other"
env = {{ MORE = "1" }}
{REQUEST}
"""


def run(folder: Path, text: str, url: str | None = None) -> list[tuple[str, bool, int | None]]:
    """Return for each part the server's name, whether its journal is available, and its process id."""
    source = read_script(text, "own.toml", ROOT, os.environ)
    known = {"dir": str(folder)}
    paths = RunPaths.of(source, folder, known)
    observer = Observer(paths.files.values(), folder / "journal.jsonl", "x", lambda trace: None, has_all_sizes=True)
    options = RunOptions(folder, PATIENCE_S, ServerSettings("", directory=folder), os.environ, url)
    seen: list[tuple[str, bool, int | None]] = []

    async def bounded() -> None:
        bed = testbed.Testbed(source.script, options, paths, known, observer, "x", None)
        async with (
            asyncio.timeout(2 * PATIENCE_S),
            Follower(observer.paths) as follower,
            bed,
            asyncio.TaskGroup() as group,
        ):
            following = group.create_task(observer.follow(follower))
            for part in source.script.all_parts:
                await bed.serve(part, group)
                child = bed.server.child
                seen.append((bed.name, bed.journal, child.process.pid if child else None))
            await bed.server.stop()
            following.cancel()

    asyncio.run(bounded())
    return seen


def test_parts_that_want_the_same_share_a_server(tmp_path: Path) -> None:
    (first, same, other) = run(tmp_path, PARTS)
    assert first == same
    assert first[:2] == other[:2] == ("tests.apps.scripted:app", True)
    assert first[2] != other[2]
    assert not any(is_alive(pid or 0) for _, _, pid in (first, other))


def test_running_server_is_asked_at_its_url(tmp_path: Path) -> None:
    with fastbg_serve("--dir", str(tmp_path), "--no-record", cwd=tmp_path) as url:
        assert run(tmp_path, PARTS, url) == [(url, False, None)] * 3


def test_server_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(BaseExceptionGroup) as caught:
        run(tmp_path, PARTS, url)
    error = caught.value.exceptions[0]
    assert isinstance(error, ServerError)
    assert str(error) == "the server does not respond: ConnectError: Connection refused"


def test_app_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        run(tmp_path, PARTS.replace("tests.apps.scripted:app", "tests.apps.scripted:nothing"))
    assert "nothing" in str(caught.value.exceptions[0])


def test_output_of_each_server_is_kept_below_its_name(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(PARTS, encoding="utf-8")
    result = fastbg("demo", "my.toml", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "Evidence in .fastbg: journal.jsonl, server.log" in result.stdout.decode()
    lines = (tmp_path / ".fastbg" / "server.log").read_text().splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("---")]
    assert [lines[number] for number in heads] == [
        "--- fastbg: tests.apps.scripted:app, first ---",
        "--- fastbg: tests.apps.scripted:app, other ---",
    ]
    requests = [sum('"GET / HTTP/1.1" 404' in line for line in part) for part in (lines[: heads[1]], lines[heads[1] :])]
    assert requests == [2, 1]
    assert "Finished server process" in lines[-1]


def test_scripts_of_one_command_share_the_log(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(PARTS, encoding="utf-8")
    fastbg("demo", "one.toml", "two.toml", "--quiet", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (tmp_path / ".fastbg" / "server.log").read_text().count("--- fastbg: ") == 4


def test_log_that_cannot_be_written_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / ".fastbg" / "server.log").mkdir(parents=True)
    result = fastbg("demo", "instant", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"the output of the server is not in server.log: Is a directory" in result.stdout


def test_followed_file_named_as_the_log_is_left_to_the_app(tmp_path: Path) -> None:
    script = 'app = "tests.apps.scripted:app"\nfolder = "${dir}"\nfollow = ["server.log"]\n'
    (tmp_path / "my.toml").write_text(script + REQUEST.replace("part.", ""), encoding="utf-8")
    fastbg("demo", "my.toml", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert not (tmp_path / ".fastbg" / "server.log").exists()
