"""`fastbg demo` as users run it: with a real server, real files, pipes and pseudo-terminals."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from fastbg.report.picture import save_picture
from tests import pictures
from tests.support.processes import (
    FASTBG,
    PATIENCE_S,
    environment,
    fastbg,
    is_alive,
    read_rest,
    read_until,
    terminal,
    wait_for,
    wait_until,
)
from tests.support.servers import ROOT, fastbg_serve, uvicorn

WORK = ("--work", "0.1")
HELD = ("default", "--app", "tests.apps.held:app", *WORK)  # every response is complete before the first write
HERE = str(ROOT)  # for PYTHONPATH
LONG_NAME = 256 * "x"  # a file system takes at most 255 bytes
NAMES = [
    "path operation",
    "dependency",
    "dependency, no q",
    "notification, q",
    "notification",
    "sub-dependency",
    "control",
]


def document(*arguments: str | Path, cwd: Path, ok: bool = True, **variables: Any) -> dict[str, Any]:
    result = fastbg("demo", "--json", *arguments, cwd=cwd, **variables)
    assert result.returncode == (0 if ok else 1), result
    assert result.stderr == b""
    written: dict[str, Any] = json.loads(result.stdout)
    assert written["ok"] is ok
    return written


def of(written: dict[str, Any], key: str) -> dict[str, Any]:
    return {request["name"]: request[key] for request in written["requests"]}


def pids(folder: Path) -> set[int]:
    return {json.loads(line)["pid"] for line in (folder / "journal.jsonl").read_bytes().splitlines()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Run a demo with some work, shared by many tests. Return its output and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    return document(*HELD, cwd=folder, PYTHONPATH=HERE), folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Make a folder with ``app.py``: the example app with a fault that a request can trigger."""
    (tmp_path / "app.py").write_text(
        """
import os, sys, time
from fastbg.example.app import app

@app.middleware("http")
async def misbehave(request, call_next):
    if request.url.path.startswith("/sub-dependency"):
        match os.environ.get("MISBEHAVE"):
            case "die":
                print("about to die", file=sys.stderr, flush=True)
                os._exit(7)
            case "hang":
                time.sleep(3600)
    return await call_next(request)
""",
        encoding="utf-8",
    )
    return tmp_path


# output


def test_every_endpoint_gets_the_verdict_that_it_should(finished: tuple[dict[str, Any], Path]) -> None:
    written, _ = finished
    assert list(of(written, "verdict")) == NAMES
    background = dict.fromkeys([*NAMES[:2], *NAMES[3:6]], "response-first")
    assert of(written, "verdict") == background | {"dependency, no q": "no-work", "control": "work-first"}
    for name in background:
        assert of(written, "evidence")[name] == ["client+file", "server"]
        assert of(written, "lead_ms")[name] > 0
    assert of(written, "evidence")["control"] == ["file+server"]
    assert of(written, "response_ms")["control"] > 100
    assert [task["task"] for task in of(written, "tasks")["sub-dependency"]] == [
        "fastbg.example.app.write_log",
        "fastbg.example.app.write_log",
        "fastbg.example.app.bg_task",
    ]
    assert {task["where"] for tasks in of(written, "tasks").values() for task in tasks} == {"thread"}
    files = [write["file"] for write in of(written, "writes")["sub-dependency"]]
    assert sorted(files) == ["README.md", "log.txt", "log.txt"]
    assert written["summary"]["requests"] == 7
    assert written["summary"]["response_first"] == 5


def test_the_files_hold_what_the_report_says(finished: tuple[dict[str, Any], Path]) -> None:
    written, folder = finished
    for name in ("README.md", "log.txt"):
        content = (folder / ".fastbg" / name).read_text("utf-8")
        texts = [
            write["text"] for writes in of(written, "writes").values() for write in writes if write["file"] == name
        ]
        assert len(content) == sum(map(len, texts))
        assert all(text in content for text in texts)


def test_instant_work_is_proved_by_the_server_alone(tmp_path: Path) -> None:
    written = document("--work", "0", cwd=tmp_path)
    proved = [request for request in written["requests"] if request["verdict"] == "response-first"]
    assert len(proved) == 5
    for request in proved:
        assert "server" in request["evidence"]
        if request["write_ms"] <= request["response_ms"]:
            assert "client+file" not in request["evidence"]
        if request["evidence"] == ["server"]:
            assert "the write was already in the file" in request["reason"]


def test_report_in_a_pipe_is_plain_text(tmp_path: Path) -> None:
    result = fastbg("demo", *WORK, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert max(map(len, text.splitlines())) <= 80
    assert "Evidence in .fastbg: README.md, log.txt, journal.jsonl, server.log" in text


def masked(text: str) -> str:
    """Replace times and request ids in ``text``, and the spaces that depend on them."""
    text = re.sub(r"\b[0-9a-f]{6}-(\d)", r"MARK-\1", text)
    text = re.sub(r"-?\b\d+(\.\d)?(?= to | ms| after|\b)", "N", text)
    return re.sub(r"[ ━┄]+", " ", text).replace("N to N", "N")  # all times may be equal


def test_final_table_is_as_it_always_was(tmp_path: Path) -> None:
    text = masked(fastbg("demo", *HELD, cwd=tmp_path, COLUMNS="120", PYTHONPATH=HERE).stdout.decode())
    table, _, rest = text[text.index("request response") :].partition("\nTimes count")
    assert [line.strip() for line in table.splitlines()] == [
        "request response write lead verdict",
        "method and path ms ms ms evidence",
        "path operation N N N response-first",
        "POST /background_tasks → N client+file, server",
        "dependency N N N response-first",
        "POST /dependency/background_tasks → N client+file, server",
        "dependency, no q N - - no-work",
        "POST /dependency/background_tasks → N server",
        "notification, q N N N response-first",
        "POST /send-notification/MARKN@example.com → N client+file, server",
        "notification N N N response-first",
        "POST /send-notification/MARKN@example.com → N client+file, server",
        "sub-dependency N N N response-first",
        "POST /sub-dependency/background_tasks → N client+file, server",
        "control N N N work-first (expected)",
        "POST /foreground_tasks → N file+server",
    ]
    slowest = r"(?<=the longest time in )[^.]+"  # on a busy machine any of them
    assert (
        "control: its write was already in the file when the response was sent "
        "N response-first, N work-first, N no-work. The clients waited N ms for the response, the longest time in "
        "NAME. The first expected write was seen N ms after the response. "
        "Evidence in .fastbg: README.md, log.txt, journal.jsonl, server.log"
    ) in re.sub(slowest, "NAME", " ".join(rest.split()))
    moral = "FastAPI sent each response before its background tasks, which took N ms: the client waited N ms."
    assert moral in " ".join(rest[rest.index("ms since sent") :].split())


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_picture_on_a_terminal_is_drawn_anew_and_fits(tmp_path: Path, columns: int) -> None:
    with terminal("demo", *HELD, cwd=tmp_path, columns=columns, HOLD=str(tmp_path / "go"), PYTHONPATH=HERE) as (
        process,
        screen,
    ):
        shown = read_until(screen, rb"(?s)control +\S.*\x1b\[H.*control +\S.*\x1b\[H.*control +\S")
        (tmp_path / "go").touch()
        shown += read_until(screen, rb"Evidence in") + read_rest(screen)
        assert process.wait(PATIENCE_S) == 0
    drawing, _, report = shown.decode().rpartition("\x1b[?1049l")
    assert drawing.count("\x1b[?1049h") == 1  # drawn on the alternate screen, which leaves nothing behind
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", report)
    assert "response-first" in plain
    assert plain.index("Evidence in") < plain.index("ms since sent") < plain.index("FastAPI sent each response")
    assert max(len(line) for line in plain.splitlines()) <= columns
    assert shown.endswith(b"\n")
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")  # the cursor is visible again


def test_no_color_means_no_colour(tmp_path: Path) -> None:
    with terminal("demo", *WORK, cwd=tmp_path, NO_COLOR="1") as (_, screen):
        shown = read_rest(screen).decode()
    assert "response-first" in shown
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38)[0-9;]*m", shown)


def test_terminal_that_knows_no_unicode_gets_ascii(tmp_path: Path) -> None:
    result = fastbg("demo", *WORK, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.isascii()
    assert b"= client waits  R response" in result.stdout


def test_picture_is_kept_as_a_page(tmp_path: Path) -> None:
    result = fastbg("demo", "--work", "0", "--save", "demo.html", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"Saved demo.html\n")
    page = (tmp_path / "demo.html").read_text("utf-8")
    assert '"response-first"' in page
    assert "<h1>Which endpoints of the example app make the client wait?</h1>" in page
    assert "<figcaption>app.py</figcaption>" in page
    assert str(tmp_path) not in page  # it is handed on


def words(picture: Path) -> list[str]:
    """Return the set of words in an SVG, without numbers."""
    elements = ET.fromstring(picture.read_text("utf-8")).iter("{http://www.w3.org/2000/svg}text")
    text = masked(" ".join((element.text or "").replace("\xa0", " ") for element in elements))
    return sorted(word for word in text.split() if not re.fullmatch(r"[N.,]+", word))


@pytest.mark.parametrize("name", pictures.NAMES)
def test_picture_in_the_readme_is_not_stale(name: str, tmp_path: Path) -> None:
    """To update a picture: ``python -m tests.pictures NAME``."""
    kept = ROOT / "tests" / "pictures" / f"{name}.svg"
    result = pictures.result_of(name, json.loads(kept.with_suffix(".json").read_text("utf-8")))
    assert result.ok
    save_picture([result], tmp_path / "new.svg")
    assert words(kept) == words(tmp_path / "new.svg")
    assert f"]({kept.relative_to(ROOT)})" in (ROOT / "README.md").read_text("utf-8")


def test_picture_of_a_run_is_kept_as_svg(tmp_path: Path) -> None:
    result = fastbg("demo", *HELD, "--save", "new.svg", cwd=tmp_path, PYTHONPATH=HERE)
    assert (result.returncode, result.stderr) == (0, b"Saved new.svg\n")
    assert {*NAMES[0].split(), "response-first", "client", "waits"} <= set(words(tmp_path / "new.svg"))


FILES = ("--save", "a.svg", "--save", "b.html", "--junit", "c.xml")


@pytest.mark.parametrize(
    ("mode", "named"),
    [(["--json"], b"Saved a.svg\nSaved b.html\nSaved c.xml\n"), (["--quiet"], b"")],
    ids=["json", "quiet"],
)
def test_every_requested_file_is_written_and_named(mode: list[str], named: bytes, tmp_path: Path) -> None:
    result = fastbg("demo", "default", "--work", "0", *mode, *FILES, cwd=tmp_path)
    assert result.stderr == named
    assert {path.name for path in tmp_path.iterdir()} == {".fastbg", "a.svg", "b.html", "c.xml"}
    assert "</svg>" in (tmp_path / "a.svg").read_text("utf-8")
    assert "</html>" in (tmp_path / "b.html").read_text("utf-8")
    assert mode != ["--json"] or json.loads(result.stdout)["requests"]


def test_file_that_cannot_be_written_loses_no_other(app: Path) -> None:
    (app / "full.svg").symlink_to("/dev/full")
    files = ("--save", "full.svg", "--save", "b\x1b.html", "--junit", "c.xml")
    result = fastbg("demo", "--app", "app:app", "--work", "0", *files, cwd=app)
    saved, error = result.stderr.decode().split("fastbg: ")
    assert (result.returncode, saved) == (2, "Saved b\\x1b.html\nSaved c.xml\n")
    assert error.startswith("the picture cannot be written: No space left on device")
    assert "</html>" in (app / "b\x1b.html").read_text("utf-8")
    assert (app / "c.xml").exists()


# a running server, and other processes in the same folder


def test_running_server_is_asked_and_its_journal_read(tmp_path: Path) -> None:
    with fastbg_serve(*WORK, cwd=tmp_path) as url:
        written = document("--url", url, cwd=tmp_path)
    assert written["summary"]["response_first"] == 5
    assert written["server"] == url


def test_server_without_journal_proves_only_from_outside(tmp_path: Path) -> None:
    with fastbg_serve("--no-record", *HELD[2:], cwd=tmp_path, PYTHONPATH=HERE) as url:
        written = document("--url", url, cwd=tmp_path, ok=False)
    assert of(written, "verdict") == {
        "path operation": "response-first",
        "dependency": "unproven",
        "dependency, no q": "unproven",
        "notification, q": "response-first",
        "notification": "response-first",
        "sub-dependency": "response-first",
        "control": "unproven",
    }
    assert not (tmp_path / ".fastbg" / "journal.jsonl").exists()


def test_folder_that_is_not_the_servers_is_said_first(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with fastbg_serve(*WORK, cwd=tmp_path) as url:
        warning = f"{other / '.fastbg'} has no journal of the server at {url}, so its tasks cannot be seen: "
        one = ("--url", url, "--only", "dependency, no q")  # it waits for no write
        shown = fastbg("demo", *one, cwd=other, COLUMNS="400").stdout.decode()
        written = document(*one, cwd=other, ok=False)
        quiet = fastbg("demo", "--quiet", *one, cwd=other)
    assert shown.startswith(warning)
    assert shown.count(warning) == 1
    assert written["remarks"][0].startswith(warning)
    assert written["remarks"][0].endswith("with --dir, or start it with `fastbg run` or `fastbg serve`")
    assert quiet.stderr.decode().startswith(f"fastbg: {warning}")


def test_three_runs_in_one_folder_stay_apart(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [*FASTBG, "demo", "--json", "--work", work], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
        )
        for work in ("0.2", "0.2", "0")
    ]
    documents = [json.loads(run.communicate(timeout=PATIENCE_S)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    offsets = [write["text"] for written in documents for writes in of(written, "writes").values() for write in writes]
    assert len(offsets) == 3 * 9
    for written, least_ms in zip(documents, (200, 200, 0), strict=True):
        assert all(ms is None or ms >= least_ms for ms in of(written, "write_ms").values())


# errors


def test_unwritable_file_is_a_failed_task_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / ".fastbg").mkdir()
    (tmp_path / ".fastbg" / "README.md").symlink_to("missing/README.md")
    written = document(*WORK, cwd=tmp_path, ok=False)
    assert of(written, "verdict") == {
        "path operation": "failed",
        "dependency": "failed",
        "dependency, no q": "no-work",
        "notification, q": "response-first",
        "notification": "response-first",
        "sub-dependency": "failed",
        "control": "lost",
    }
    assert (
        "bg_task failed: FileNotFoundError: [Errno 2] No such file or directory"
        in of(written, "reason")["path operation"]
    )
    assert "No such file or directory" in of(written, "reason")["control"]
    assert of(written, "status")["control"] == 500


def test_server_that_dies_is_told_with_its_last_lines(app: Path) -> None:
    result = fastbg("demo", "default", "--app", "app:app", *WORK, cwd=app, MISBEHAVE="die")
    assert result.returncode == 1
    text = result.stdout.decode()
    assert "the server ended with exit code 7" in text
    assert "| about to die" in text
    assert "Traceback" not in text + result.stderr.decode()


@pytest.mark.long
def test_response_that_does_not_come_ends_with_the_time_limit(app: Path) -> None:
    result = fastbg("demo", "default", "--json", "--app", "app:app", *WORK, "--timeout", "3", cwd=app, MISBEHAVE="hang")
    assert result.returncode == 1
    written = json.loads(result.stdout)
    assert of(written, "verdict")["sub-dependency"] == "lost"
    assert of(written, "status")["sub-dependency"] is None
    assert not any(map(is_alive, pids(app / ".fastbg")))


@pytest.mark.long
def test_work_that_does_not_end_is_lost_within_the_time_limit(tmp_path: Path) -> None:
    written = document("--work", "3600", "--timeout", "10", cwd=tmp_path, ok=False)
    assert set(of(written, "verdict").values()) == {"lost", "no-work"}
    assert "started, never finished" in of(written, "reason")["path operation"]
    assert not any(map(is_alive, pids(tmp_path / ".fastbg")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_and_the_server(tmp_path: Path, number: signal.Signals) -> None:
    run = subprocess.Popen(
        [*FASTBG, "demo", "--work", "3600"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(tmp_path / ".fastbg" / "journal.jsonl", b"task_started")
    run.send_signal(number)
    shown, complaint = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 128 + number
    assert complaint == b""
    assert re.search(r"\npath operation .* unproven +\n  POST /background_tasks → ", shown.decode())
    assert "unproven (expected)" not in shown.decode()
    assert re.search(r"\nInterrupted after [\d.]+ s: \d of \d requests? finished\.\n$", shown.decode())
    (server,) = pids(tmp_path / ".fastbg")
    until_gone(server)


CLOSING = """
import os
from fastapi import BackgroundTasks, FastAPI
app = FastAPI()

def work():
    os.closerange(3, 256)
    open("closed", "w").close()

@app.get("/")
def close(tasks: BackgroundTasks):
    tasks.add_task(work)
"""


@pytest.mark.parametrize("interrupted", [False, True])
def test_task_that_closes_all_descriptors_hangs_nothing(tmp_path: Path, interrupted: bool) -> None:
    (tmp_path / "app.py").write_text(CLOSING)
    (tmp_path / "s.toml").write_text(f"""
        app = "app:app"
        timeout = {3600 if interrupted else 1}
        [[request]]
        name = "close"
        path = "/"
    """)
    run = subprocess.Popen(
        [*FASTBG, "demo", "s.toml", "--json"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    )
    wait_until((tmp_path / "closed").exists)
    if interrupted:
        run.send_signal(signal.SIGINT)
    written = json.loads(run.communicate(timeout=PATIENCE_S)[0])
    assert of(written, "verdict")["close"] == ("unproven" if interrupted else "response-first")
    assert run.returncode == (130 if interrupted else 0)
    assert not any(map(is_alive, pids(tmp_path / ".fastbg")))


DYING = """
import os
from fastapi import BackgroundTasks, FastAPI
app, other = FastAPI(), FastAPI()

@app.get("/")
def die(tasks: BackgroundTasks):
    tasks.add_task(os._exit, 3)

@other.get("/")
def live(tasks: BackgroundTasks):
    tasks.add_task(print)
"""


def test_server_that_dies_takes_no_other_servers_with_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(DYING)
    part = (
        '[[part]]\nname = "{0}"\napp = "own:{1}"\n[[part.request]]\nname = "{0}"\npath = "/"\nexpect.verdict = "{2}"\n'
    )
    parts = [("dies", "app", "lost"), ("again", "app", "unproven"), ("lives", "other", "response-first")]
    (tmp_path / "s.toml").write_text("".join(part.format(*each) for each in parts))
    written = document("s.toml", cwd=tmp_path, ok=False)
    assert of(written, "verdict") == {"dies": "lost", "again": "unproven", "lives": "response-first"}
    assert of(written, "reason")["again"].startswith("not sent: ")
    assert written["stopped"] == "the server ended with exit code 3"


def test_interrupted_run_keeps_finished_scripts_and_files(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [*FASTBG, "demo", "instant", "default", "inline", "--work", "3600", "--save", "x.svg"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(tmp_path / ".fastbg" / "journal.jsonl", rb'"path":"/background_tasks"(?s:.*)task_started')
    run.send_signal(signal.SIGINT)
    shown, complaint = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, complaint) == (130, b"Saved x.svg\n")
    overview = shown.decode().rpartition("requests verdicts")[2]
    assert re.search(r"\ninstant +yes ", overview)
    assert re.search(r"\ndefault +✗ interrupted ", overview)
    assert "inline" not in overview


def test_interrupted_run_is_a_document_too(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [*FASTBG, "demo", "--work", "3600", "--json"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    )
    wait_for(tmp_path / ".fastbg" / "journal.jsonl", b"task_started")
    run.send_signal(signal.SIGINT)
    written = json.loads(run.communicate(timeout=PATIENCE_S)[0])
    assert (run.returncode, written["ok"], written["stopped"]) == (130, False, "interrupted")
    assert written["requests"][0]["verdict"] == "unproven"


def test_missing_write_is_given_up_without_a_journal(tmp_path: Path) -> None:
    """After the limit of the write: nobody sees whether a task still runs."""
    with uvicorn("tests.apps.scripted:app", ROOT) as url:
        text = f'url = "{url}"\nfollow = ["log.txt"]\n[[request]]\npath = "/port"\n'
        text += 'expect.writes = [{ file = "log.txt", text = "${mark}", within = 0.1 }]\n'
        (tmp_path / "s.toml").write_text(text)
        written = document("s.toml", "--timeout", "3600", cwd=tmp_path, ok=False)
    assert "not within 0.1 s" in of(written, "reason")["GET /port"]


def until_gone(pid: int) -> None:
    """Wait until a process has ended, also if it is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor):
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"process {pid} still runs"


def test_ctrl_c_on_a_terminal_leaves_it_in_order(tmp_path: Path) -> None:
    with terminal("demo", "--work", "3600", cwd=tmp_path) as (process, screen):
        wait_for(tmp_path / ".fastbg" / "journal.jsonl", b"task_started")
        os.write(screen, b"\x03")
        shown = read_rest(screen)
        assert process.wait(PATIENCE_S) == 130
    assert b"Traceback" not in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") > 0


@pytest.mark.parametrize("arguments", [(), ("--init", "draft.toml")], ids=["server", "draft"])
def test_ctrl_c_while_the_app_is_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, os, time\npathlib.Path('pid').write_text(f'{os.getpid()}.')\ntime.sleep(3600)\n"
    )
    run = subprocess.Popen(
        [*FASTBG, "demo", *arguments, "--app", "slow:app"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE
    )
    pid = int(wait_for(tmp_path / "pid", rb"\.")[:-1])
    run.send_signal(signal.SIGINT)
    _, complaint = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, complaint) == (130, b"")
    until_gone(pid)


def refused(*arguments: str | Path, cwd: Path) -> str:
    result = fastbg("demo", *arguments, cwd=cwd)
    assert (result.returncode, result.stdout) == (2, b"")
    complaint = result.stderr.decode()
    assert "Traceback" not in complaint
    return complaint


def test_url_where_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        complaint = refused("--url", url, cwd=tmp_path)
    assert "the server does not respond" in complaint
    assert f"where: {url}" in complaint
    assert "fix: " in complaint


def test_address_without_a_scheme_is_a_url(tmp_path: Path) -> None:
    with fastbg_serve("--work", "0", cwd=tmp_path) as url:
        written = document("default", "--url", url.removeprefix("http://"), cwd=tmp_path)
    assert {request["url"].startswith(url) for request in written["requests"]} == {True}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--url", "http://"), "not a valid URL"),
        (("--url", "localhost:http"), "not a valid URL"),
        (("--app", "missing:app"), "the module missing does not exist"),
        (("--save", "demo.png"), ".svg or .html"),
        (("--save", "no/such/demo.svg"), "does not exist"),
        (("--save", "."), ".svg or .html"),
        (("--step", "--json"), "--step"),
        (("--app", "a:b", "--url", "http://127.0.0.1:1"), "--app"),
        (("--app-dir", "x"), "--app-dir needs an app"),
        (("--work", "-1"), "--work"),
        (("--work", "nan"), "--work"),
        (("--dir", "file/inside"), "data folder"),
        (("--junit", f"{LONG_NAME}/x.xml"), "this path cannot be used: File name too long"),
        ((f"{LONG_NAME}.toml",), "this path cannot be used: File name too long"),
    ],
)
def test_wrong_usage_is_refused_with_what_where_and_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], what: str
) -> None:
    (tmp_path / "file").write_text("")
    assert what in refused(*arguments, cwd=tmp_path)


def test_nothing_is_written_outside_of_the_data_folder(finished: tuple[dict[str, Any], Path]) -> None:
    _, folder = finished
    assert [path.name for path in folder.iterdir()] == [".fastbg"]
    assert {path.name for path in (folder / ".fastbg").iterdir()} == {
        ".gitignore",
        "README.md",
        "log.txt",
        "journal.jsonl",
        "server.log",
    }


CUT = """
import os, resource
from pathlib import Path
from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

def fill():
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(os.environ["FASTBG_DIR"], "journal.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

@app.post("/mail")
def mail(tasks: BackgroundTasks):
    tasks.add_task(fill)
    tasks.add_task(os._exit, 1)
"""


def test_server_that_could_not_write_its_end_has_lost_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut.py").write_text(CUT)
    (tmp_path / "s.toml").write_text('app = "cut:app"\n[[request]]\nname = "mail"\npath = "/mail"\nmethod = "POST"\n')
    for _ in range(2):  # the sign of the first run stays
        written = document("s.toml", cwd=tmp_path, ok=False)
        why = "a server process could not write its last events, for example because the disk was full"
        assert of(written, "verdict") == {"mail": "unproven"}
        assert why in of(written, "reason")["mail"]
        assert why in written["remarks"]
