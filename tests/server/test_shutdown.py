"""`fastbg serve` with clients that send invalid HTTP, never finish a request, or do not read the response."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from tests.support.journals import events_of, read
from tests.support.processes import FASTBG, PATIENCE_S, Process, environment, read_until, wait_for
from tests.support.servers import URL, fetch

APP = """
import os, time
from fastapi import BackgroundTasks, FastAPI, Request, Response

app = FastAPI()

def work():
    while not os.path.exists("now"):
        time.sleep(0.005)

@app.post("/body")
async def body(request: Request):
    return len(await request.body())

@app.get("/big")
async def big():
    return Response(bytes(2**24))

@app.get("/work")
async def start(tasks: BackgroundTasks):
    tasks.add_task(work)

@app.get("/{path:path}")
async def any(path: str):
    return "served"
"""
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
POST = b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

REFUSED = {
    "another-protocol": b"\x16\x03\x01garbage\r\n\r\n",
    "no-version": b"GET /\r\n\r\n",
    "control-in-method": b"BREW\x00 / HTTP/1.1\r\n\r\n",
    "control-in-path": b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
    "control-in-header": GET + b"X: \x1b[31m\x00\r\n\r\n",
    "long-header": GET + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    "no-length": POST + b"Content-Length: x\r\n\r\n",
    "two-lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "no-chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab",
}
SERVED = {
    "control-in-query": GET.replace(b" / ", b" /%1b%5b31m%00%e2%80%ae?%0a ") + b"\r\n",
    "long-path": GET.replace(b" / ", b" /" + b"x" * 60_000 + b" ") + b"\r\n",
    "long-id": GET + b"X-Fastbg-Request-ID: " + b"i" * 60_000 + b"\r\n\r\n",
    "control-in-id": GET + b"X-Fastbg-Request-ID: \t\xff\r\n\r\n",
    "two-ids": GET + b"X-Fastbg-Request-ID: one\r\nX-Fastbg-Request-ID: two\r\n\r\n",
    "many-headers": GET + b"X: y\r\n" * 5000 + b"\r\n",
    "length-and-chunks": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
}


@dataclass(frozen=True)
class Serving:
    """A running ``fastbg serve``: its process, its URL, its log and its journal."""

    process: Process
    url: str
    log: Path
    journal: Path

    def connect(self, data: bytes) -> socket.socket:
        """Open a connection and send ``data``, as much as the server accepts."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        connection = socket.create_connection((host, int(port)), PATIENCE_S)
        with suppress(ConnectionError):
            connection.sendall(data)
        return connection

    def response(self, data: bytes, *, half_closed: bool = True) -> bytes:
        """Send ``data``, shut down the sending side if ``half_closed``, and return the response."""
        with self.connect(data) as connection:
            found = b""
            with suppress(OSError):  # it may close the connection before it has read everything
                if half_closed:
                    connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    found += more
            return found


@contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    (folder / "own.py").write_text(APP)
    ours, theirs = os.pipe()
    log = folder / "log"
    with log.open("wb") as stderr:
        # httptools accepts some of the requests that h11 refuses.
        command = [*FASTBG, "serve", "own:app", "--port", "0", "--", "--http", "h11"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=theirs, stderr=stderr)
    os.close(theirs)
    try:
        found = re.search(URL, read_until(ours, rb"  curl .*\n"))
        os.close(ours)  # nobody reads its access log
        assert found
        wait_for(log, b"startup complete")
        yield Serving(process, found[1].decode(), log, folder / ".fastbg" / "journal.jsonl")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_http_is_refused_and_other_requests_are_served(server: Serving, name: str) -> None:
    response = server.response(REFUSED[name])
    assert response.startswith(b"HTTP/1.1 400 ") or response == b""  # b"": closed before the server had read everything
    assert fetch("GET", f"{server.url}/after/{name}").json() == "served"


@pytest.mark.parametrize("name", SERVED)
def test_unusual_requests_are_served_and_recorded(server: Serving, name: str) -> None:
    before = len(read(server.journal))
    assert b" 200 OK\r\n" in server.response(SERVED[name], half_closed=False)  # uvicorn may close it
    fetch("GET", f"{server.url}/after", headers={"X-Fastbg-Request-ID": name})
    events_of(server.journal, name)
    lines = server.journal.read_bytes().splitlines()[before:]
    assert all(line.isascii() and line.decode().isprintable() and len(line) < 2000 for line in lines)
    assert {json.loads(line)["event"] for line in lines} == {"request_received", "response_sent", "request_finished"}


def test_log_without_a_reader_is_no_error(server: Serving) -> None:
    assert fetch("GET", f"{server.url}/any").status_code == 200
    assert b"Logging error" not in server.log.read_bytes()


def test_slow_clients_delay_neither_others_nor_the_end(tmp_path: Path) -> None:
    with serving(tmp_path) as server, ExitStack() as stack:
        slow = [GET + b"X-Slow: "] * 200 + [POST + b"Content-Length: 100\r\n\r\nhalf"] * 20
        slow += [b"GET /big HTTP/1.1\r\nHost: x\r\nX-Fastbg-Request-ID: big\r\n\r\n"] * 3
        for data in slow:
            stack.enter_context(server.connect(data))
        wait_for(server.journal, rb'(?s)("/body".*?){20}')
        events_of(server.journal, "big", until="request_received", times=3)
        assert fetch("GET", f"{server.url}/any", headers={"X-Fastbg-Request-ID": "any"}).json() == "served"
        fetch("GET", f"{server.url}/work", headers={"X-Fastbg-Request-ID": "work"})
        events_of(server.journal, "work", until="task_started")
        received = [event["path"] for event in read(server.journal) if event["event"] == "request_received"]
        assert "/" not in received  # an incomplete request is not recorded
        server.process.send_signal(signal.SIGINT)
        wait_for(server.log, b"Waiting for background tasks to complete")  # and not for connections
        (tmp_path / "now").touch()
        assert server.process.wait(PATIENCE_S) == 0
        assert [event["event"] for event in events_of(server.journal, "work")][-2:] == [
            "task_finished",
            "request_finished",
        ]


def test_recorder_does_not_keep_finished_requests(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def nothing(message: Message | None = None) -> Message:
        return {}

    async def send_requests() -> None:
        for number in range(1000):
            path = f"/{number}/" + "x" * 20_000
            scope = {"type": "http", "method": path, "path": path, "headers": [(b"x-fastbg-request-id", path.encode())]}
            await recorder(scope, nothing, nothing)  # type: ignore[arg-type]  # it sends nothing

    recorder = Recorder(app, Journal(tmp_path / "journal.jsonl"))
    tracemalloc.start()
    asyncio.run(send_requests())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 8 * 2**20
