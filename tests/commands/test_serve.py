"""`fastbg serve` as users run it: output, exit and errors."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.journals import events_of, read
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, read_rest, read_until, terminal, wait_for
from tests.support.servers import URL, fastbg_serve, fetch

APP = """
import asyncio, os, time
from fastapi import BackgroundTasks, FastAPI
app = FastAPI()
version = 1
not_an_app = 3

def work(file: str, seconds: float):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not os.path.exists(file + ".now"):
        time.sleep(0.005)
    open(file, "a").write("done")

@app.get("/work")
async def start(tasks: BackgroundTasks, file: str, seconds: float):
    tasks.add_task(work, file, seconds)

async def poll(file: str):
    while not os.path.exists(file + ".now"):
        await asyncio.sleep(0.005)

@app.get("/poll")
async def start_polling(tasks: BackgroundTasks, file: str, more: int = 0):
    tasks.add_task(poll, file)
    for _ in range(more):
        tasks.add_task(work, file, 0)

@app.get("/version")
async def tell():
    return version

@app.get("/pid")
async def pid():
    return os.getpid()

@app.get("/hold")
async def hold():  # this process takes no other request meanwhile
    open("holding", "w").write("holding")
    while not os.path.exists("released"):
        time.sleep(0.005)
    return os.getpid()
"""
LONG_S = 3600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(APP)
    return tmp_path


class Serving:
    """A running ``fastbg serve`` in ``folder`` with its process, output and URL."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, folder: Path) -> None:
        self.process = process
        self.log = log
        self.journal = folder / ".fastbg" / "journal.jsonl"
        found = re.search(URL, wait_for(log, URL))
        assert found
        self.url = found[1].decode()
        self.get("/version")  # the server is ready

    def get(self, path: str, **query: str | float) -> httpx.Response:
        return fetch("GET", self.url + path, params=query, headers={"X-Fastbg-Request-ID": path})

    def work(self, path: Path) -> None:
        """Start a task that waits for the file ``path`` + ``.now``, then writes ``path``."""
        self.get("/work", file=str(path), seconds=LONG_S)
        if self.journal.exists():
            events_of(self.journal, "/work", until="task_started")

    def change(self, own: Path, code: str) -> None:
        """Write ``code`` to ``own`` and wait until the reloader detects it."""
        begin = self.log.stat().st_size
        new = own.with_suffix(".new")
        new.write_text(code)
        new.replace(own)  # atomic: the reloader never sees half a file
        newer, end = time.time(), time.monotonic() + PATIENCE_S
        while b"Reloading" not in self.log.read_bytes()[begin:]:
            assert time.monotonic() < end
            newer += 10  # uvicorn misses a change right after it has started to watch
            os.utime(own, (newer, newer))
            time.sleep(0.05)

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Stop the server. Return the exit code and the output."""
        for number in signals:
            self.process.send_signal(number)
        code = self.process.wait(timeout=PATIENCE_S)
        return code, self.log.read_text()


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory() as outside:  # a growing log must not trigger a reload
        log = Path(outside) / "log"
        command = [*FASTBG, "serve", "own:app", "--port", "0", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield Serving(process, log, folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # also its workers
            process.wait()


MODES = pytest.mark.parametrize("mode", [[], ["--workers", "2"], ["--reload"]], ids=["single", "workers", "reload"])


def test_greeting_names_address_files_and_next_commands(tmp_path: Path) -> None:
    command = [*FASTBG, "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            said = read_until(process.stdout, rb"  curl .*\n").decode()
            url = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert url
            assert fetch("GET", f"{url[0]}/docs").status_code == 200
        finally:
            process.terminate()
    assert "fastbg.example:app" in said
    assert str(tmp_path / ".fastbg" / "journal.jsonl") in said
    assert f"\n  docs         {url[0]}/docs\n" in said
    assert f"\n  fastbg tail --dir {tmp_path / '.fastbg'}\n" in said
    assert f"curl -X POST '{url[0]}/send-notification/you@example.com?q=hello'" in said
    assert "\x1b" not in said
    assert process.returncode == 0


def test_the_curl_that_it_shows_works(tmp_path: Path) -> None:
    data = tmp_path / "data folder"
    command = [*FASTBG, "serve", "--port", "0", "--work", "0", "--dir", str(data)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            said = read_until(process.stdout, rb"  curl .*\n").decode()
            curl = next(line for line in said.splitlines() if line.startswith("  curl")).split("'")[1]
            assert fetch("POST", curl).json() == {"message": "Message sent"}
            wait_for(data / "log.txt", b"found query: hello\nmessage to you@example.com\n")
        finally:
            process.terminate()
    assert f"fastbg tail --dir '{data}'" in said


def test_for_a_foreign_app_it_shows_a_request_of_that_app(folder: Path) -> None:
    with serving(folder) as server:
        said = server.log.read_text()
    assert f"  curl '{server.url}/work?file=0a1b2c-1&seconds=1'\n" in said
    assert f"  fastbg tail --dir {folder / '.fastbg'}\n" in said
    assert "send-notification" not in said
    assert "other machines" not in said


def test_the_app_is_found_as_fastapi_dev_finds_it(folder: Path) -> None:
    (folder / "src" / "shop").mkdir(parents=True)
    (folder / "src" / "shop" / "__init__.py").touch()
    (folder / "src" / "shop" / "main.py").write_text(APP.replace("app = F", "service = F").replace("@app", "@service"))
    for arguments in (["src/shop/main.py"], ["shop"], ["--workers", "2", "shop.main:service"], ["--reload", "shop"]):
        with fastbg_serve(*arguments, cwd=folder) as url:
            assert fetch("GET", f"{url}/version").json() == 1
    with fastbg_serve("main", "--app-dir", "src/shop", cwd=folder) as url:
        assert fetch("GET", f"{url}/version").json() == 1


def test_a_request_that_cannot_be_suggested_does_no_harm(folder: Path) -> None:
    no_schema = (
        "\nfrom collections.abc import Callable\nfrom pydantic import BaseModel\nclass M(BaseModel):\n"
        "    f: Callable[[], int]\n@app.post('/x')\ndef x(m: M, tasks: BackgroundTasks): ..."
    )
    only_destructive = "\napp = FastAPI(docs_url=None)\napp.delete('/version')(lambda: 1)"
    for code in (no_schema, only_destructive):
        (folder / "own.py").write_text(APP + code)
        with serving(folder) as server:
            said = server.log.read_text().partition("INFO")[0]
        assert said.endswith(f"  fastbg tail --dir {folder / '.fastbg'}\n")
        assert ("  docs  " in said) == (code is no_schema)


def test_a_host_that_others_can_reach_is_warned_of(folder: Path) -> None:
    with serving(folder, "--host", "0.0.0.0") as server:
        assert len(re.findall("other machines can reach this server", server.log.read_text())) == 1


@MODES
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_running_tasks_finish(folder: Path, mode: list[str], number: signal.Signals) -> None:
    with serving(folder, *mode) as server:
        server.work(folder / "written")
        server.process.send_signal(number)
        wait_for(server.log, b"Waiting for background tasks to complete")
        (folder / "written.now").touch()
        code, said = server.end()
    assert code == 0
    assert (folder / "written").read_text() == "done"
    assert [event["event"] for event in events_of(server.journal, "/work")][-2:] == [
        "task_finished",
        "request_finished",
    ]
    assert "Traceback" not in said


@MODES
def test_shutdown_names_its_task_and_a_second_interrupt_the_loss(folder: Path, mode: list[str]) -> None:
    with serving(folder, *mode) as server:
        server.work(folder / "written")
        server.process.send_signal(signal.SIGINT)
        wait_for(server.log, b"waits for .*\n.*\n.*\n")
        code, said = server.end(signal.SIGINT)  # the task does not end
    assert code == 130
    task = rf"  own\.work of GET /work: in a thread for [\d.]+ s, at {folder}/own\.py:\d+ in work\n"
    waits = re.search(rf"fastbg: process (\d+) waits for 1 background task:\n{task}  (.*)\n", said)
    assert waits
    assert waits[2] == f"press Ctrl-C again, or run kill -INT {waits[1]}, to exit at once and lose these"
    assert re.search(rf"fastbg: process {waits[1]} exited immediately: 1 background task was lost\n{task}", said)
    stopped = [event for event in read(server.journal) if event["event"] == "shutdown"]
    assert {(event["unfinished"], *event["tasks"], event["pid"]) for event in stopped} == {
        (1, "own.work", int(waits[1]))
    }
    assert [event["waits"] for event in stopped][-2:] == [True, False]
    assert "Traceback" not in said
    assert not (folder / "written").exists()


def test_shutdown_names_what_blocks_the_loop_and_what_waits(folder: Path) -> None:
    file = folder / "polled"
    with serving(folder) as server, ThreadPoolExecutor() as pool:
        try:
            server.get("/poll", file=str(file), more=4)
            events_of(server.journal, "/poll", until="task_started")
            held = pool.submit(server.get, "/hold")
            wait_for(folder / "holding", b"holding")
            server.process.send_signal(signal.SIGTERM)
            said = wait_for(server.log, b"to exit at once").decode()
            assert "Shutting down" not in said  # the loop of uvicorn has not seen the signal
        finally:
            (folder / "released").touch()
            file.with_suffix(".now").touch()
        code, _ = server.end()
        assert held.result().status_code == 200
    place = rf"for [\d.]+ s, at {folder}/own\.py:\d+ in"
    queued = r"  own\.work of GET /poll: not started\n"
    assert re.search(
        rf"fastbg: process \d+ waits for 5 background tasks and 1 request:\n"
        rf"  own\.poll of GET /poll: in the event loop {place} poll\n"
        rf"  GET /hold: not finished {place} hold\n{queued * 3}  and 1 more\n",
        said,
    )
    assert code == 0


def test_reload_names_the_task_that_it_waits_for(folder: Path) -> None:
    with serving(folder, "--reload") as server:
        server.get("/poll", file="never")
        events_of(server.journal, "/poll", until="task_started")
        server.change(folder / "own.py", APP.replace("version = 1", "version = 2"))
        waits = rb"own\.poll of GET /poll: in the event loop .*\n.*run kill -INT (\d+)"
        found = re.search(waits, wait_for(server.log, waits))
        assert found
        os.kill(int(found[1]), signal.SIGINT)
        wait_for(server.log, rb"(?s)1 background task was lost.*startup complete")
        assert server.get("/version").json() == 2
        assert server.end(signal.SIGTERM)[0] == 0


@MODES
def test_control_c_typed_twice_does_the_same(folder: Path, mode: list[str]) -> None:
    """The terminal sends the signal to every process of the group, also to child processes."""
    journal = folder / ".fastbg" / "journal.jsonl"
    with terminal("serve", "own:app", "--port", "0", *mode, cwd=folder) as (process, screen):
        found = re.search(URL, read_until(screen, b"(?s)" + URL + b".*startup complete"))
        assert found
        url = f"{found[1].decode()}/work"
        fetch("GET", url, params={"file": "written", "seconds": LONG_S}, headers={"X-Fastbg-Request-ID": "1"})
        events_of(journal, "1", until="task_started")
        os.write(screen, b"\x03")
        read_until(screen, b"Waiting for background tasks to complete")
        os.write(screen, b"\x03")
        assert process.wait(timeout=PATIENCE_S) == 130
        assert b"1 background task was lost" in read_rest(screen)


def test_without_journal_it_does_not_claim_what_was_lost(folder: Path) -> None:
    with serving(folder, "--no-record") as server:
        server.work(folder / "written")
        server.process.send_signal(signal.SIGINT)
        wait_for(server.log, b"Waiting for background tasks to complete")
        code, said = server.end(signal.SIGINT)
    assert code == 130
    assert "the number of lost background tasks is unknown" in said


@pytest.mark.usefixtures("new_interpreters")
def test_no_record_leaves_no_journal_and_starlette_as_it_is(folder: Path) -> None:
    (folder / "own.py").write_text(
        APP
        + """
from starlette.background import BackgroundTask

@app.get("/starlette")
async def starlette():
    import sys
    return [BackgroundTask.__call__.__module__, "fastbg.recorder.middleware" in sys.modules]
"""
    )
    with serving(folder, "--no-record") as server:
        assert server.get("/starlette").json() == ["starlette.background", False]
    assert not server.journal.exists()


def test_workers_share_the_port_and_the_journal(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server, ThreadPoolExecutor() as pool:
        try:
            one = pool.submit(server.get, "/hold")
            wait_for(folder / "holding", b"holding")
            other = server.get("/pid")
        finally:
            (folder / "released").touch()
        pids = {one.result().json(), other.json()}
        code, _ = server.end(signal.SIGTERM)
    assert code == 0
    assert len(pids) == 2
    assert {event["pid"] for event in read(server.journal)} == pids


def test_a_worker_that_dies_is_replaced(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        pid = server.get("/pid").json()
        os.kill(pid, signal.SIGKILL)
        wait_for(server.log, rb"(?s)Child process \[%d\] died.*startup complete" % pid)
        assert server.get("/version").json() == 1
        assert server.end(signal.SIGTERM)[0] == 0


def test_reload_serves_the_changed_code_and_still_records(folder: Path) -> None:
    own = folder / "own.py"
    with serving(folder, "--reload") as server:
        assert server.get("/version").json() == 1
        server.change(own, APP.replace("version = 1", "version = 2"))
        wait_for(server.log, b"(?s)Reloading.*startup complete")
        assert server.get("/version").json() == 2
        assert events_of(server.journal, "/version", times=3)  # one request by `Serving`, two here
        assert server.end(signal.SIGTERM)[0] == 0


def test_reload_waits_for_broken_code_to_be_mended(folder: Path) -> None:
    own = folder / "own.py"
    with serving(folder, "--reload") as server:
        server.change(own, "import nothing_of_that_name\n")
        said = wait_for(server.log, b"fix: .*\n").decode()
        assert "No module named 'nothing_of_that_name'" in said
        assert "Traceback" not in said
        server.change(own, APP)
        wait_for(server.log, rb"(?s)fix: .*startup complete")
        assert server.get("/version").json() == 1
        assert server.end(signal.SIGINT)[0] == 0


def test_a_task_that_fails_still_reaches_the_servers_log(folder: Path) -> None:
    with serving(folder) as server:
        server.get("/work", file="/no/such/folder/file", seconds=0)
        said = wait_for(server.log, b"FileNotFoundError: .*\n")
    assert b"Exception in ASGI application" in said
    assert b"Traceback" in said


def test_an_app_that_does_not_start_up_is_no_success(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from fastapi import FastAPI\nasync def lifespan(app):\n    raise OSError('no database')\n    yield\n"
        "from contextlib import asynccontextmanager\napp = FastAPI(lifespan=asynccontextmanager(lifespan))\n"
    )
    for mode in ([], ["--workers", "2"]):
        ended = fastbg("serve", "own:app", "--port", "0", *mode, cwd=folder)
        assert ended.returncode == 2
        assert b"no database" in ended.stderr
        assert b"fastbg: the app did not start up\n" in ended.stderr


@pytest.mark.parametrize(
    ("application", "code", "parts"),
    [
        ("own", "", ["the module own has no app", "own.py", "own:attribute"]),
        ("own", "from fastapi import FastAPI\na = FastAPI()\nb = FastAPI()", ["own has several apps: a, b", "own:a"]),
        ("own:", "", ["'own:' is not a valid name of an app", "module:attribute"]),
        (":app", "", ["':app' is not a valid name of an app", "module:attribute"]),
        ("owm.py:app", "", ["the file owm.py does not exist", "; did you mean own.py?"]),
        ("none/", "", ["the folder none/ does not exist", "correct the name"]),
        ("./", "", ["the folder has no main.py, app.py, api.py, and is not a package", "name the file"]),
        ("y" * 300 + ".py", "", ["the app cannot be found: File name too long", "module:attribute"]),
        ("owm:app", "", ["the module owm does not exist", "; did you mean own?"]),
        ("own:aap", "app = print", ["the module own has no attribute 'aap'", "own.py", "; did you mean app?"]),
        ("own:app", "app = 3", ["app is not an ASGI app, but an int", "own.py"]),
        ("own:app", "import nothing_of_that_name", ["No module named 'nothing_of_that_name'", "own.py:1", "install"]),
        ("own:app", "\n1 / 0", ["ZeroDivisionError: division by zero", "own.py:2"]),
        ("own:app", "import json\n\njson.loads('{')", ["JSONDecodeError", "own.py:3"]),
        ("own:app", "def app(:\n", ["SyntaxError: invalid syntax", "own.py:1"]),
        ("own:app", "raise SystemExit(3)", ["SystemExit: 3", "own.py:1"]),
        ("own:app", "def app():\n    raise OSError('no')", ["OSError: no", "own.py:2"]),
    ],
)
def test_an_app_that_cannot_be_loaded_is_told_in_three_parts(
    tmp_path: Path, application: str, code: str, parts: list[str]
) -> None:
    (tmp_path / "own.py").write_text(code)
    _refused(["serve", application, "--port", "0"], tmp_path, parts)


def test_an_app_is_loaded_before_workers_or_a_reloader_start(tmp_path: Path) -> None:
    for mode in (["--reload"], ["--workers", "2"]):
        _refused(["serve", "own:app", "--port", "0", *mode], tmp_path, ["the module own does not exist"])


def test_a_busy_port_and_a_wrong_host_are_told_in_three_parts(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        _refused(["serve", "own:app", "--port", port], folder, ["the port is in use", f"127.0.0.1:{port}", "--port"])
    _refused(["serve", "own:app", "--host", "no.such.host.invalid"], folder, ["the host does not exist", "--host"])
    elsewhere = ["not an address of this machine", "192.0.2.1", "--host"]
    _refused(["serve", "own:app", "--host", "192.0.2.1"], folder, elsewhere)


@pytest.mark.parametrize("data", ["own.py", "own.py/deeper"])
def test_unusable_data_folder_is_an_error_in_three_parts(folder: Path, data: str) -> None:
    _refused(["serve", "own:app", "--dir", data], folder, ["data folder cannot be written", "own.py", "--dir"])


def _refused(arguments: list[str], folder: Path, parts: list[str]) -> None:
    ended = fastbg(*arguments, cwd=folder)
    said = ended.stderr.decode()
    assert ended.returncode == 2, said
    assert "Traceback" not in said
    assert [line.split(":")[0] for line in said.splitlines()] == ["fastbg", "  where", "  fix"]
    for part in parts:
        assert part in said
    assert not ended.stdout


def test_a_factory_is_called_once(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        APP
        + "calls = []\ndef make():\n    calls.append(1)\n    app.get('/calls')(lambda: len(calls))\n    return app\n"
    )
    command = [*FASTBG, "serve", "own:make", "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            found = re.search(URL, read_until(process.stdout, URL))
            assert found
            assert fetch("GET", f"{found[1].decode()}/calls").json() == 1
        finally:
            process.terminate()


def test_serving_needs_neither_uvloop_nor_httptools(folder: Path) -> None:
    without = "import sys; sys.modules |= {'uvloop': None, 'httptools': None, 'rich': None}; import runpy; "
    run = "sys.argv = ['fastbg', 'serve', 'own:app', '--port', '0']; runpy.run_module('fastbg', run_name='__main__')"
    with subprocess.Popen(
        [sys.executable, "-c", without + run],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            found = re.search(URL, read_until(process.stdout, URL))
            assert found
            assert fetch("GET", f"{found[1].decode()}/version").json() == 1
        finally:
            process.terminate()
    assert process.returncode == 0
