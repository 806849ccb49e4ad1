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

from fastbg.events import Appended, Event, boot_id
from fastbg.follow.lines import LINE_LIMIT
from fastbg.recorder.journal_lines import MAX_LINE_BYTES
from fastbg.recorder.rotation import part
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.stream import Stream
from fastbg.report.text_lines import TextPrinter
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
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
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
    result = once("--dir", folder, "-n", "2")
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
    assert once("--dir", folder, "-n", "0").stdout == b""


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
    result = once("--dir", folder, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert rb"# \u540e\u53f0\u4efb\u52a1" in result.stdout


def test_long_line_is_cut_and_says_so_and_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)  # one line of 100 MB of zeros
        file.seek(0, os.SEEK_END)
        file.write(b"\nend\n")
    code = (  # the value of `getrusage` starts at the peak of the test process
        "import re, sys; from pathlib import Path; from fastbg.commands.tail import tail; import json\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "tail([Path(sys.argv[1])], follow=False)\n"
        "before = peak()\n"
        "tail([Path(sys.argv[2])], follow=False)\n"
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
        "from fastbg.commands.tail import tail\n"
        "from pathlib import Path\n"
        "tail([Path(sys.argv[1])], follow=False)\n"
        "heavy = 'fastapi starlette uvicorn httpx httpcore anyio asyncio inotify_simple pydantic'.split()\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, folder / "log.txt"], capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert result.stderr == b"[]\n"


def test_what_the_command_imports(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastbg", "tail", "--no-follow", "--dir", folder],
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
    result = once("--dir", tmp_path / "none")
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
            [*TAIL, "--no-follow", "--dir", folder],
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
    with following("--dir", data) as process:
        assert process.stderr is not None
        read_until(process.stderr, rb"waiting for .*README.md\n(?s:.*)waiting for .*log.txt\n")
        data.mkdir()
        append(data / "README.md", "\n## FastAPI 框架精讲".encode())
        found = read_until(process.stdout, "框架精讲".encode())
        assert re.fullmatch(TIME + b" README.md \n" + TIME + " README.md ## FastAPI 框架精讲".encode(), found)


def test_line_goes_on_in_place_or_with_a_mark(folder: Path) -> None:
    with following("--dir", folder, "-n", "1") as process:
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
    with following("--json", "-n", "1", "--dir", folder) as process:
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
    with following("--dir", folder) as process:
        read_until(process.stdout, b"unfinished")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, rest, errors) == (code, b"\n", b"")


def test_signal_loses_no_line_while_somebody_reads(folder: Path) -> None:
    append(folder / "log.txt", b"unfinished")
    with following("--dir", folder) as process:
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
    with following("--dir", folder) as process:
        read_until(process.stdout, b"\n")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stdout = None


def test_head_in_a_shell(folder: Path) -> None:
    command = f"{sys.executable} -m fastbg tail --dir {folder} | head -1; echo ${{PIPESTATUS[0]}}"
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
    with terminal("--dir", folder) as (process, screen):
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
    with terminal("--dir", folder, NO_COLOR="1") as (_, screen):
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


def test_journal_is_shown_in_the_order_of_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, log = folder / "journal.jsonl", folder / "log.txt"
    stream = Stream(TextPrinter({log: "log.txt", journal: "server"}, sys.stdout), [journal])
    now = time.monotonic_ns()
    stream.new(Appended(now, log, (1, 1), 0, b"message to a@b\n"))
    late = entry("response_sent", now - 2000, status=200, method="POST", path="/x")
    late += entry("task_started", now - 1000, task="app.write", n=0, where="thread") + entry(
        "request_finished", now + 500
    )
    stream.new(Appended(now + 900, journal, (1, 2), 0, late[:50]))
    stream.new(Appended(now + 900, journal, (1, 2), 50, late[50:]))
    stream.close()
    lines = [re.sub(r"^\S+ ", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "server  response_sent  200  POST /x  [r1]",
        "server  task_started  app.write #0 thread  [r1]",
        "log.txt message to a@b",
        "server  request_finished  [r1]",
    ]


def test_each_part_of_a_journal_has_its_own_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    stream = Stream(TextPrinter({journal: "server"}, sys.stdout), [journal])
    whole, late = entry("response_sent", 1000), entry("task_finished", 2000, task="app.write", n=0)
    stream.old(journal, 0, late[:30])
    stream.new(Appended(3000, journal, (1, 2), 0, whole + whole[:40]))
    stream.new(Appended(3000, journal, (1, 1), 30, late[30:] + b'{"torn'))
    stream.new(Appended(3000, journal, (1, 2), len(whole) + 40, whole[40:]))
    stream.close()
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["response_sent  [r1]"] * 2 + ["task_finished  app.write #0  [r1]", 'not an event: {"torn']


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
    for printer in (TextPrinter({journal: "server"}, sys.stdout), JsonPrinter(sys.stdout)):
        stream = Stream(printer, [journal])
        stream.old(journal, 0, b"\n".join(lines))
        stream.old_end(journal)
        stream.close()
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in shown[:4]] == [
        'not an event: {"t_ns": 1, "ev',
        "not an event: []",
        'not an event: {"t_ns": true, "event": "x"}',
        "not an event: �\\x1b[31m",
    ]
    assert [json.loads(line)["event"] for line in shown[4:]] == [None] * 4


def test_event_is_shown_however_long_its_line_may_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    stream = Stream(JsonPrinter(sys.stdout), [journal])
    for length in (LINE_LIMIT, MAX_LINE_BYTES):
        stream.old(journal, 0, entry("response_sent", 1, error="x" * length))
    stream.close()
    event, foreign = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], len(event["detail"]["error"])) == ("response_sent", LINE_LIMIT)
    assert (foreign["event"], len(foreign["text"])) == (None, LINE_LIMIT)


def test_events_of_another_boot_are_marked_and_not_sorted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, log = folder / "journal.jsonl", folder / "log.txt"
    stream = Stream(TextPrinter({log: "log.txt", journal: "server"}, sys.stdout), [journal])
    stream.new(Appended(1000, log, (1, 1), 0, b"first\n"))
    stream.new(Appended(2000, journal, (1, 2), 0, entry("request_received", 1, boot="elsewhere", wall_ns=0)))
    stream.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("log.txt first")
    assert "another boot" in second


@pytest.mark.parametrize("detail", [{"wall_ns": 10**40, "boot": "x"}, {"weather": [1e308]}, {"error": "\ud800"}])
def test_odd_values_in_the_journal_are_no_crash(
    folder: Path, detail: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    journal = folder / "journal.jsonl"
    event = Event(10**30, "server", "response_sent", None, detail)
    TextPrinter({journal: "server"}, sys.stdout).event(journal, event)
    JsonPrinter(sys.stdout).event(journal, event)
    text, line = capsys.readouterr().out.splitlines()
    assert "response_sent" in text
    json.loads(line, parse_constant=lambda constant: pytest.fail(constant))


def test_journal_and_files_in_one_stream(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    journal.write_bytes(entry("request_received", time.monotonic_ns(), method="POST", path="/old"))
    with following("--dir", folder, "--journal", "-n", "1") as process:
        read_until(process.stdout, TIME + rb" server    request_received  POST /old  \[r1\]\n")
        append(journal, entry("response_sent", time.monotonic_ns(), status=200))
        read_until(process.stdout, TIME + b" server    response_sent  200")
        append(folder / "log.txt", b"new\n")
        read_until(process.stdout, TIME + b" log.txt   new")
