"""`fastbg tail` as a process: with a pipe, a pseudo-terminal and signals."""

import errno
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from fastbg.events import Appended, Event, boot_id
from fastbg.evidence.activity import ActiveRequest
from fastbg.follow.lines import LINE_LIMIT
from fastbg.recorder.journal_lines import MAX_LINE_BYTES
from fastbg.recorder.rotation import part
from fastbg.report.journal_stream import JournalStream
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.lines import Entry
from fastbg.report.request_lines import RequestPrinter
from tests.support.processes import PATIENCE_S, read_until

TAIL = (sys.executable, "-m", "fastbg", "tail")
LAST = rb"message to 19@x\n"  # the last lines are shown after following has started
TIME = rb"\d\d:\d\d:\d\d\.\d\d\d"

Process = subprocess.Popen[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("# 后台任务\n\n> quote\n", encoding="utf-8")
    (tmp_path / "log.txt").write_text("".join(f"message to {n}@x\n" for n in range(20)), encoding="utf-8")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**plain, "TERM": "xterm-256color", "TZ": "UTC", **more}


def once(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TAIL, "--no-follow", *arguments],
        capture_output=True,
        timeout=PATIENCE_S,
        env=environment(**more),
        check=False,
    )


@contextmanager
def following(*arguments: str | Path, **streams: Any) -> Iterator[Process]:
    process = subprocess.Popen(
        [*TAIL, *arguments],
        stdin=subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **streams},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


# the last lines


def test_last_lines_have_names_and_no_time(folder: Path) -> None:
    result = once("--files-only", "--dir", folder, "-n", "2")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == [
        "-            README.md ",
        "-            README.md > quote",
        "-            log.txt   message to 18@x",
        "-            log.txt   message to 19@x",
    ]


def test_ten_lines_are_the_default_and_a_single_file_has_no_name(folder: Path) -> None:
    result = once(folder / "log.txt")
    assert result.stdout.splitlines() == [b"-            message to %d@x" % n for n in range(10, 20)]


def test_zero_lines_are_none(folder: Path) -> None:
    assert once("--files-only", "--dir", folder, "-n", "0").stdout == b""


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        append(tmp_path / name / "log", b"x\n")
    result = once(tmp_path / "a" / "log", tmp_path / "b" / "log")
    assert [line.split()[1] for line in result.stdout.decode().splitlines()] == [
        str(tmp_path / name / "log") for name in ("a", "b")
    ]


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    append(tmp_path / "evil\x1b[31m.txt", b"a\x1b]0;title\x07\rb [bold]c[/bold] \xff\xe2\x80\xae\n")
    result = once(tmp_path / "evil\x1b[31m.txt", tmp_path / "evil\x1b[31m.txt", FORCE_COLOR="1")
    text = re.sub(r"\x1b\[[\d;]*m", "", result.stdout.decode())
    assert r"a\x1b]0;title\x07\rb [bold]c[/bold] � \u202e".replace("� ", "�") in text
    assert re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text) is None


def test_terminal_that_is_not_utf8_is_no_crash(folder: Path) -> None:
    result = once("--files-only", "--dir", folder, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert rb"# \u540e\u53f0\u4efb\u52a1" in result.stdout


def test_long_line_is_cut_and_says_so_and_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)  # one line of 100 MB of zeros
        file.seek(0, os.SEEK_END)
        file.write(b"\nend\n")
    code = (  # the value of `getrusage` starts at the peak of the test process
        "import re, sys; from pathlib import Path; from fastbg.commands.tail import TailOptions, tail; import json\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "tail(TailOptions(Path(), (Path(sys.argv[1]),), journal=False, follow=False))\n"
        "before = peak()\n"
        "tail(TailOptions(Path(), (Path(sys.argv[2]),), journal=False, follow=False))\n"
        "print(peak() - before, file=sys.stderr)\n"
    )
    small = tmp_path / "small.log"
    small.write_text("a\n")
    result = subprocess.run(
        [sys.executable, "-c", code, small, path],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
        env=environment(),
    )
    assert result.stdout.endswith(f" … {100 * 2**20 - 65536:,} more bytes\n-            end\n".encode())
    assert int(result.stderr) < 8 * 1024  # KiB


def test_file_of_a_gigabyte_answers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.log"  # sparse; tests/follow/test_lines.py counts the bytes read
    with path.open("wb") as file:
        file.seek(2**30)
        file.write(b"\n" + b"".join(b"%d\n" % n for n in range(10)))
    assert [line.split()[1] for line in once(path).stdout.splitlines()] == [b"%d" % n for n in range(10)]


def test_what_is_imported(folder: Path) -> None:
    code = (
        "import sys\n"
        "from fastbg.commands.tail import TailOptions, tail\n"
        "from pathlib import Path\n"
        "tail(TailOptions(Path(), (Path(sys.argv[1]),), journal=False, follow=False))\n"
        "heavy = 'fastapi starlette uvicorn httpx httpcore anyio asyncio inotify_simple pydantic'.split()\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, folder / "log.txt"], capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert result.stderr == b"[]\n"


def test_what_the_command_imports(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastbg", "tail", "--no-follow", "--files-only", "--dir", folder],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    imported = {line.rsplit("|")[-1].strip() for line in result.stderr.decode().splitlines()}
    assert "fastbg.commands.tail" in imported
    heavy = {"fastapi", "starlette", "uvicorn", "httpx", "httpcore", "anyio", "asyncio"}
    if not any(needed.startswith("pydantic") for needed in metadata.requires("typer") or ()):
        heavy.add("pydantic")  # Typer uses it to read options since 0.29
    assert imported.isdisjoint(heavy)


# errors


def test_nothing_written_yet_says_how_to_start(tmp_path: Path) -> None:
    result = once("--files-only", "--dir", tmp_path / "none")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"no file has been written yet" in result.stderr
    assert b"`fastbg demo`" in result.stderr


def test_missing_file_is_reported_and_others_shown(folder: Path) -> None:
    result = once(folder / "none", folder / "log.txt", "-n", "1")
    assert (result.returncode, result.stdout) == (1, b"-            log.txt message to 19@x\n")
    assert b"the file does not exist" in result.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", b"this is a folder"),
        ("/dev/full", b"this is a device"),
        ("/dev/zero", b"this is a device"),
        ("x" * 300, b"File name too long"),
        ("none", b"the file does not exist"),
    ],
)
def test_only_file_that_cannot_be_shown_is_an_error(name: str, words: bytes, folder: Path) -> None:
    result = once(folder / name)
    assert (result.returncode, result.stdout) == (2, b"")
    assert words in result.stderr
    assert b"Traceback" not in result.stderr


def test_named_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with following(tmp_path / "pipe", tmp_path) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert b"this is a named pipe" in errors
    assert b"this is a folder" in errors


def test_unwritable_output_is_an_error_without_traceback(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*TAIL, "--no-follow", "--files-only", "--dir", folder],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    assert result.returncode == 2
    assert b"the output cannot be written: No space left on device" in result.stderr
    assert b"Traceback" not in result.stderr


# following


def test_starting_before_anything_exists_works(tmp_path: Path) -> None:
    data = tmp_path / "later"
    with following("--files-only", "--dir", data) as process:
        assert process.stderr is not None
        read_until(process.stderr, rb"waiting for .*README.md\n(?s:.*)waiting for .*log.txt\n")
        data.mkdir()
        append(data / "README.md", "\n## FastAPI 框架精讲".encode())
        found = read_until(process.stdout, "框架精讲".encode())
        assert re.fullmatch(TIME + b" README.md \n" + TIME + " README.md ## FastAPI 框架精讲".encode(), found)


def test_line_goes_on_in_place_or_with_a_mark(folder: Path) -> None:
    with following("--files-only", "--dir", folder, "-n", "1") as process:
        read_until(process.stdout, LAST)
        append(folder / "README.md", b"one ")
        found = read_until(process.stdout, b"one ")
        append(folder / "README.md", b"line")
        found += read_until(process.stdout, b"line")
        append(folder / "log.txt", b"between\n")
        found += read_until(process.stdout, b"between\n")
        append(folder / "README.md", b" goes on\n")
        found += read_until(process.stdout, b"goes on\n")
    lines = re.sub(TIME, b"T", found).decode().splitlines()
    assert lines == ["T README.md one line", "T log.txt   between", "T README.md ↪  goes on"]


def test_json_lines_are_valid_whatever_comes(folder: Path) -> None:
    log = folder / "log.txt"
    with following("--json", "-n", "1", "--files-only", "--dir", folder) as process:
        first = [json.loads(line) for line in read_until(process.stdout, b"\n.*\n").splitlines()]
        assert [(entry["file"], entry["text"], entry["t_ns"], entry["time"]) for entry in first] == [
            (str(folder / "README.md"), "> quote", None, None),
            (str(log), "message to 19@x", None, None),
        ]
        size, before_ns = log.stat().st_size, time.monotonic_ns()
        append(log, b"\xff\x00\xed\xa0\x80 part")
        entry = json.loads(read_until(process.stdout, b"\n"))
        assert entry["source"] == "file"
        assert (entry["offset"], entry["continued"], entry["complete"], entry["cut"]) == (size, False, False, 0)
        assert entry["text"] == "�\0��� part"
        assert before_ns <= entry["t_ns"] <= time.monotonic_ns()
        assert entry["time"].endswith("+00:00")
        append(log, b"\r\n")
        entry = json.loads(read_until(process.stdout, b"\n"))
        assert (entry["text"], entry["continued"], entry["complete"]) == ("", True, True)
        log.write_bytes(b"")
        entry = json.loads(read_until(process.stdout, b"\n"))
        assert (entry["source"], entry["kind"]) == ("notice", "truncated")


def test_refused_file_is_reported_once(folder: Path) -> None:
    with following(folder, folder / "log.txt", "-n", "1") as process:
        read_until(process.stdout, LAST)
        append(folder / "log.txt", b"x\n")
        read_until(process.stdout, b"x\n")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert errors.count(b"this is a folder") == 1
    assert process.returncode == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_it_cleanly(folder: Path, number: signal.Signals, code: int) -> None:
    append(folder / "log.txt", b"unfinished")
    with following("--files-only", "--dir", folder) as process:
        read_until(process.stdout, b"unfinished")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, rest, errors) == (code, b"\n", b"")


def test_signal_loses_no_line_while_somebody_reads(folder: Path) -> None:
    append(folder / "log.txt", b"unfinished")
    with following("--files-only", "--dir", folder) as process:
        read_until(process.stdout, b"unfinished")
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGALRM)  # the timeout of its end passes before it does anything
        process.send_signal(signal.SIGCONT)
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, rest, errors) == (130, b"\n", b"")


def test_signal_ends_it_although_nobody_reads(folder: Path) -> None:
    (folder / "log.txt").write_bytes(b"line\n" * 200_000)
    with following(folder / "log.txt", "-n", "200000") as process:
        read_until(process.stdout, b"line")  # then the pipe is full, and a write blocks
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 143


def test_reader_that_has_enough_ends_it(folder: Path) -> None:
    with following("--files-only", "--dir", folder) as process:
        read_until(process.stdout, b"\n")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stdout = None


def test_head_in_a_shell(folder: Path) -> None:
    command = f"{sys.executable} -m fastbg tail --files-only --dir {folder} | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, timeout=PATIENCE_S, check=True)
    assert result.stdout.decode().splitlines() == ["-            README.md # 后台任务", "0"]
    assert result.stderr == b""


# a terminal


@contextmanager
def terminal(*arguments: str | Path, **more: str) -> Iterator[tuple[Process, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    process = subprocess.Popen(
        [*TAIL, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more), start_new_session=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_rest(descriptor: int) -> bytes:
    found = b""
    try:
        while data := os.read(descriptor, 65536):
            found += data
    except OSError as error:
        if error.errno != errno.EIO:  # EIO: the other end is closed
            raise
    return found


def test_terminal_shows_styles_and_does_not_cut(folder: Path) -> None:
    append(folder / "log.txt", b"ERROR " + b"long " * 20 + b"\n")
    with terminal("--files-only", "--dir", folder) as (process, screen):
        found = read_until(screen, b"ERROR.*(long ){20}")
        os.write(screen, b"\x03")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130
        found += read_rest(screen)
    assert "\x1b[1;35m# 后台任务".encode() in found
    assert b"\x1b[32m> quote" in found
    assert b"\x1b[1;31mERROR" in found
    assert b"Traceback" not in found
    assert not re.search(rb"\x1b\[[\d;]*[A-HJKf]", found)  # no cursor movement


def test_no_color_is_honoured(folder: Path) -> None:
    with terminal("--files-only", "--dir", folder, NO_COLOR="1") as (_, screen):
        found = read_until(screen, b"message to 19@x")
    assert not re.search(rb"\x1b\[[\d;]*3\dm", found)


# the journal


def entry(name: str, t_ns: int, **fields: object) -> bytes:
    line = {
        "t_ns": t_ns,
        "wall_ns": time.time_ns(),
        "boot": boot_id(),
        "pid": 1,
        "event": name,
        "request": "r1",
        **fields,
    }
    return json.dumps(line).encode() + b"\n"


def answered(t_ns: int, request: str = "r1", path: str = "/x") -> bytes:
    """Return the lines of a request that was answered at ``t_ns``, 2 ms after its arrival, with a task that runs."""
    task: dict[str, object] = {"task": "app.write", "n": 0, "request": request}
    return b"".join(
        (
            entry("request_received", t_ns - 2_000_000, request=request, method="POST", path=path),
            entry("task_queued", t_ns - 1_000_000, **task),
            entry("response_sent", t_ns, request=request, status=200, sending_ns=t_ns - 1000, buffered=0),
            entry("task_started", t_ns + 1000, where="thread", **task),
        )
    )


def test_response_and_its_write_are_one_stream(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    with following("--dir", folder, "-n", "2") as process:
        append(journal, answered(time.monotonic_ns()))
        request = TIME + rb"  POST /x \xe2\x86\x92 200 in 2.0 ms  \[r1\]"
        read_until(process.stdout, request + b"\n")
        append(folder / "log.txt", b"message to me\n")
        when = rb"  [\d.]+ ms after the response"
        read_until(process.stdout, request + when + b"  log.txt  message to me\n")
        append(journal, entry("task_failed", time.monotonic_ns(), task="app.write", n=0, error="ValueError: no"))
        read_until(process.stdout, request + when + b"  write failed: ValueError: no\n")
        append(journal, entry("shutdown", time.monotonic_ns(), request=None, unfinished=2))
        read_until(process.stdout, TIME + b"  server process 1 shuts down with 2 unfinished tasks\n")


def test_shutdown_is_shown_after_the_last_requests(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    shutdown = [entry("shutdown", now, request=None, unfinished=1, tasks=[name]) for name in ("shop.a", "shop.b")]
    (tmp_path / "journal.jsonl").write_bytes(answered(now, "r1") + shutdown[0] + answered(now, "r2") + shutdown[1])
    shown = once("--dir", tmp_path, "-n", "1").stdout
    assert re.fullmatch(rb".*\[r2\]\n" + TIME + rb"  server process 1 shuts down with 1 unfinished task: b\n", shown)
    last = json.loads(once("--dir", tmp_path, "-n", "1", "--json").stdout.splitlines()[-1])
    assert (last["event"], last["detail"]["unfinished"], last["detail"]["tasks"]) == ("shutdown", 1, ["shop.b"])
    assert once("--dir", tmp_path, "-n", "0").stdout == b""


def test_write_of_two_active_requests_has_no_request(folder: Path) -> None:
    with following("--dir", folder, "-n", "2") as process:
        now = time.monotonic_ns()
        append(folder / "journal.jsonl", answered(now, "r1") + answered(now, "r2", path="/y"))
        read_until(process.stdout, rb"\[r2\]\n")
        append(folder / "log.txt", b"whose?\n")
        assert re.fullmatch(TIME + rb"  \?  log.txt  whose\?\n", read_until(process.stdout, rb"whose\?\n"))


def test_apps_without_the_files_of_the_example_are_fine(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(answered(time.monotonic_ns()))
    result = once("--dir", tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"POST /x" in result.stdout
    with following("--dir", tmp_path) as process:
        read_until(process.stdout, rb"POST /x .*\[r1\]\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_files_only_shows_no_request(folder: Path) -> None:
    (folder / "journal.jsonl").write_bytes(answered(time.monotonic_ns()))
    shown = once("--dir", folder, "--files-only", "-n", "1")
    assert shown.stdout.decode().splitlines() == [
        "-            README.md > quote",
        "-            log.txt   message to 19@x",
    ]
    named = once(folder / "log.txt", "--dir", folder, "-n", "1")
    assert named.stdout == b"-            message to 19@x\n"
    assert b"POST /x" in once(folder / "log.txt", "--dir", folder, "--journal").stdout


def test_journal_and_files_only_cannot_be_combined(folder: Path) -> None:
    result = once("--dir", folder, "--files-only", "--journal")
    assert result.returncode == 2
    assert b"cannot be combined" in result.stderr


def test_last_requests_are_counted_not_their_lines(folder: Path) -> None:
    now = time.monotonic_ns()
    (folder / "journal.jsonl").write_bytes(b"".join(answered(now + n, f"r{n}", f"/{n}") for n in range(20)))
    shown = once("--dir", folder, "-n", "3").stdout.decode()
    assert re.findall(r"POST (/\d+)", shown) == ["/17", "/18", "/19"]


def test_no_line_is_longer_than_the_terminal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    now = time.monotonic_ns()
    journal.write_bytes(
        answered(now, path="/orders/" + "精" * 40)
        + entry("task_failed", now + 10**6, task="app.write", n=0, error="ValueError: " + "很长 " * 30)
        + entry("request_finished", now + 2 * 10**6)
    )
    with terminal("--dir", tmp_path, "--no-follow", NO_COLOR="1") as (process, screen):
        shown = re.sub(rb"\x1b\[[\d;]*m", b"", read_rest(screen)).decode()
        assert process.wait(PATIENCE_S) == 0
    lines = [line.rstrip("\r") for line in shown.split("\n")]
    assert max(map(cell_len, lines)) <= 40
    assert any("200 in 2.0 ms a1" in line for line in lines)
    assert any("write failed" in line for line in lines)


def test_each_part_of_a_journal_has_its_own_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    stream = JournalStream(JsonPrinter(sys.stdout), [journal])
    whole, late = entry("response_sent", 1000), entry("task_finished", 2000, task="app.write", n=0)
    stream.old(journal, 0, late[:30])
    stream.new(Appended(3000, journal, (1, 2), 0, whole + whole[:40]))
    stream.new(Appended(3000, journal, (1, 1), 30, late[30:] + b'{"torn'))
    stream.new(Appended(3000, journal, (1, 2), len(whole) + 40, whole[40:]))
    stream.close()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] or line["text"] for line in lines] == ["response_sent"] * 2 + ["task_finished", '{"torn']


def test_last_lines_of_a_journal_are_in_its_parts(folder: Path) -> None:
    def requests(*ids: str) -> bytes:
        return b"".join(entry("request_received", 1, boot="b", method="GET", path=f"/{each}") for each in ids)

    journal = folder / "journal.jsonl"
    part(journal, 9).write_bytes(requests("1", "2"))
    part(journal, 10).write_bytes(requests("3") + b"torn")
    journal.write_bytes(requests("4", "5"))
    for count, shown in ((1, ["5"]), (3, ["torn", "4", "5"]), (5, ["2", "3", "torn", "4", "5"])):
        result = once("--json", "-n", str(count), "--dir", folder, "--journal", folder / "log.txt")
        lines = [line for line in map(json.loads, result.stdout.splitlines()) if line["source"] == "server"]
        assert [line["text"] if line["event"] is None else line["detail"]["path"][1:] for line in lines] == shown


def test_what_is_no_event_is_shown_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    lines = [b'{"t_ns": 1, "ev', b"[]", b'{"t_ns": true, "event": "x"}', b"\xff\x1b[31m"]
    for printer in (RequestPrinter({journal: "journal"}, sys.stdout), JsonPrinter(sys.stdout)):
        stream = JournalStream(printer, [journal])
        stream.old(journal, 0, b"\n".join(lines))
        stream.end(journal)
        stream.close()
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in shown[:4]] == [
        '?  journal  not an event: {"t_ns": 1, "ev',
        "?  journal  not an event: []",
        '?  journal  not an event: {"t_ns": true, "event": "x"}',
        "?  journal  not an event: �\\x1b[31m",
    ]
    assert [json.loads(line)["event"] for line in shown[4:]] == [None] * 4


def test_event_is_shown_however_long_its_line_may_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    stream = JournalStream(JsonPrinter(sys.stdout), [journal])
    for length in (LINE_LIMIT, MAX_LINE_BYTES):
        stream.old(journal, 0, entry("response_sent", 1, error="x" * length))
    stream.end(journal)
    stream.close()
    event, foreign = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], len(event["detail"]["error"])) == ("response_sent", LINE_LIMIT)
    assert (foreign["event"], len(foreign["text"])) == (None, LINE_LIMIT)


@pytest.mark.parametrize("detail", [{"wall_ns": 10**40, "boot": "x"}, {"weather": [1e308]}, {"error": "\ud800"}])
def test_odd_values_in_the_journal_are_no_crash(
    folder: Path, detail: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    request = ActiveRequest(1, "r1", 7, "GET", "/", 0, this_boot=False, response_ns=10**30)
    entry = Entry(folder / "journal.jsonl", Event(10**30, "server", "response_sent", "r1", detail), request)
    for printer in (RequestPrinter({}, sys.stdout), JsonPrinter(sys.stdout)):
        printer.event(entry, last=False)
    text, line = capsys.readouterr().out.splitlines()
    assert "GET /" in text
    json.loads(line, parse_constant=lambda constant: pytest.fail(constant))


def test_json_names_the_request_of_a_write(folder: Path) -> None:
    with following("--dir", folder, "--json", "-n", "9") as process:
        append(folder / "journal.jsonl", answered(time.monotonic_ns()))
        read_until(process.stdout, b"task_started.*\n")
        append(folder / "log.txt", b"message\n")
        found = read_until(process.stdout, b'"text": "message".*\n')
    line = json.loads(next(line for line in found.splitlines() if b'"message"' in line))
    assert (line["source"], line["request"]) == ("file", "r1")
