"""`fastbg run` with the servers that people use: each process that serves is recorded, and each request once."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastbg.server.address import Address
from tests.support.certificates import make_certificate
from tests.support.journals import read
from tests.support.processes import FASTBG, PATIENCE_S, Process, environment, fastbg
from tests.support.servers import NO_TLS, ROOT, free_port, wait_until_it_listens

APP = "tests.apps.tasks:app"
UVICORN = ("uvicorn", APP, "--port", "{port}")
GUNICORN = ("gunicorn", "-b", "127.0.0.1:{port}", APP)
MAIN = f"""
import sys
import uvicorn
from {APP.partition(":")[0]} import app
uvicorn.run(app, port=int(sys.argv[1]))
"""
SERVERS = {
    "uvicorn": (("uvicorn", "factory:create", "--factory", "--port", "{port}", "--workers", "2"), 2, "uvicorn"),
    "uvicorn-reload": ((*UVICORN, "--reload"), 1, "uvicorn"),
    "main": (("main.py", "{port}"), 1, "uvicorn"),
    "gunicorn-uvicorn": ((*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "--preload", "-w", "2"), 2, "uvicorn"),
    "gunicorn-asgi": ((*GUNICORN, "-k", "asgi", "-w", "2"), 2, "gunicorn"),
    "hypercorn": (("hypercorn", "-w", "2", "-b", "127.0.0.1:{port}", APP), 2, "hypercorn"),
    "granian": (("granian", "--interface", "asgi", "--workers", "2", "--port", "{port}", APP), 2, "granian"),
}


def command_of(words: Sequence[str], port: int) -> list[str]:
    """Return a command of Python: a module or a file with its arguments."""
    first, *rest = (word.format(port=port) for word in words)
    return [sys.executable, *([first] if first.endswith(".py") else ["-m", first]), *rest]


@contextlib.contextmanager
def running(words: Sequence[str], folder: Path, *options: str, **variables: str) -> Iterator[tuple[Process, int]]:
    """Run ``fastbg run`` with the command in ``folder``. Yield its process and the port when the server responds."""
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*FASTBG, "run", *options, "--", *command_of(words, port)],
            cwd=folder,
            env=environment(**{"PYTHONPATH": str(ROOT)} | variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def check() -> None:
            assert process.poll() is None, log.read_text("utf-8")

        wait_until_it_listens(Address(f"http://127.0.0.1:{port}"), check)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)


def post(port: int, path: str, *, scheme: str = "http", headers: dict[str, str] | None = None) -> httpx.Response:
    client = httpx.Client(verify=False if scheme == "https" else NO_TLS, trust_env=False, timeout=PATIENCE_S)
    with client:
        return client.post(f"{scheme}://127.0.0.1:{port}{path}", headers=headers)


def events_when(journal: Path, wanted: dict[str, int]) -> list[dict[str, Any]]:
    """Wait until the journal has this number of each event, and return all."""
    end = time.monotonic() + PATIENCE_S
    while True:
        events = read(journal)
        counts = {name: sum(event["event"] == name for event in events) for name in wanted}
        if all(counts[name] >= number for name, number in wanted.items()):
            return events
        assert time.monotonic() < end, counts
        time.sleep(0.02)


@pytest.mark.parametrize("name", SERVERS)
def test_each_serving_process_is_recorded_once(name: str, tmp_path: Path) -> None:
    words, processes, server = SERVERS[name]
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    factory = f"from {APP.partition(':')[0]} import app\n\n\ndef create():\n    return app\n"
    (tmp_path / "factory.py").write_text(factory, encoding="utf-8")
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    with running(words, tmp_path) as (_, port):
        for path in ("/orders", "/inner/orders", "/slow?seconds=0"):
            assert post(port, path).status_code == 200
        events = events_when(journal, {"recording_started": processes, "request_finished": 3, "task_finished": 3})
    started = [event for event in events if event["event"] == "recording_started"]
    assert [event["server_name"] for event in started] == [server] * processes
    assert len({event["pid"] for event in started}) == processes
    assert all(event["server_version"] != "unknown" and event["run"] for event in started)
    assert [event.get("manager", "").split(" ")[0] for event in started] == [
        "gunicorn" if name == "gunicorn-uvicorn" else ""
    ] * processes
    paths = [event["path"] for event in events if event["event"] == "request_received"]
    assert paths == ["/orders", "/inner/orders", "/slow"]
    sent = [event for event in events if event["event"] == "response_sent"]
    assert [event["buffered"] for event in sent] == [None if server == "granian" else 0] * 3
    assert b"fastbg" not in (tmp_path / "server.log").read_bytes()


def test_tls_and_unix_socket_are_recorded(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    tls = ("--ssl-keyfile", "key.pem", "--ssl-certfile", "cert.pem")
    with running((*UVICORN, *tls), tmp_path) as (_, port):
        assert post(port, "/orders", scheme="https").status_code == 200
        events_when(journal, {"task_finished": 1})
    process = subprocess.Popen(
        [*FASTBG, "run", "--", sys.executable, "-m", "uvicorn", APP, "--uds", "socket"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        stderr=subprocess.DEVNULL,
    )
    try:
        transport = httpx.HTTPTransport(uds=str(tmp_path / "socket"), retries=0)
        events_when(journal, {"recording_started": 2})
        wait_until_it_listens(Address("http://shop", str(tmp_path / "socket")))
        with httpx.Client(transport=transport, timeout=PATIENCE_S) as client:
            assert client.post("http://shop/orders").status_code == 200
        events_when(journal, {"task_finished": 2})
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_failure_to_attach_does_not_reach_the_app(tmp_path: Path) -> None:
    site = tmp_path / "broken"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os\nif 'FASTBG_RECORD' in os.environ:\n    os.environ['FASTBG_JOURNAL_SIZE'] = 'much'\n",
        encoding="utf-8",
    )
    with running(UVICORN, tmp_path, PYTHONPATH=f"{site}:{ROOT}") as (_, port):
        assert post(port, "/orders").status_code == 200
    log = (tmp_path / "server.log").read_text("utf-8")
    assert re.search(r"fastbg: this uvicorn server is not recorded: ValueError: .*'much'", log)
    assert "fastbg: no process of this command was recorded" in wait_for_end(tmp_path / "server.log")


def wait_for_end(log: Path) -> str:
    """Wait for the notice after the end of the command, which another process writes."""
    end = time.monotonic() + PATIENCE_S
    while "  fix: " not in (text := log.read_text("utf-8")):
        assert time.monotonic() < end, text
        time.sleep(0.02)
    return text


def test_fastbg_serve_is_recorded_once_by_itself(tmp_path: Path) -> None:
    words = ("fastbg", "serve", APP, "--port", "{port}", "--dir", "own")
    with running(words, tmp_path, "--dir", "outer") as (_, port):
        assert post(port, "/orders").status_code == 200
        events = events_when(tmp_path / "own" / "journal.jsonl", {"task_finished": 1, "request_finished": 1})
    assert sum(event["event"] == "request_received" for event in events) == 1
    assert read(tmp_path / "outer" / "journal.jsonl") == []


SCRIPT = """
app = "tests.apps.tasks:app"
follow = ["orders.txt"]

[[request]]
name = "order"
method = "POST"
path = "/orders"
expect.tasks = ["write"]
expect.writes = [{ file = "orders.txt", text = "order\\n" }]
"""


def test_files_are_followed_and_a_demo_beside_it_sees_all(tmp_path: Path) -> None:
    (tmp_path / "orders.txt").write_text("12345", encoding="utf-8")
    (tmp_path / "shop.toml").write_text(SCRIPT, encoding="utf-8")
    with running(UVICORN, tmp_path, "--follow", "orders.txt") as (_, port):
        post(port, "/orders")
        events = events_when(tmp_path / ".fastbg" / "journal.jsonl", {"task_finished": 1, "response_sent": 1})
        result = fastbg("demo", "shop.toml", "--json", "--url", f"localhost:{port}", cwd=tmp_path)
    (sent,) = (event for event in events if event["event"] == "response_sent")
    assert sent["files"] == {str(tmp_path / "orders.txt"): 5}
    (request,) = json.loads(result.stdout)["requests"]
    assert (result.returncode, request["verdict"], "server" in request["evidence"]) == (0, "response-first", True)
