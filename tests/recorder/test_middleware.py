"""The recorder in a real server: tasks of an app, and their events in the journal."""

import asyncio
import itertools
import re
import select
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from packaging.version import Version
from starlette.types import Message, Receive, Scope, Send

from fastbg.clock import coarse_time_ns
from fastbg.events import boot_id
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import STAMP_NS
from fastbg.recorder.middleware import Recorder
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings
from tests.support.journals import Fields, describe_events, events_of, read
from tests.support.processes import FASTBG, PATIENCE_S, environment, wait_for, wait_until
from tests.support.servers import ROOT, URL


@dataclass
class Recorded:
    client: httpx.Client
    folder: Path
    log: Path
    pid: int
    count: int = 0

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def get(self, path: str, **more: Any) -> tuple[httpx.Response, list[Fields]]:
        """Send a request, and return the response and the events of the finished request."""
        self.count += 1
        request_id = f"request {self.count}"
        response = self.client.get(path, headers={"X-Fastbg-Request-ID": request_id}, **more)
        return response, events_of(self.journal, request_id)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    log = folder / "server.log"
    command = [*FASTBG, "serve", "tests.apps.recorded:app", "--port", "0", "--dir", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT)
    try:
        found = re.search(URL, wait_for(log, URL))
        assert found
        no_keep_alive = httpx.Limits(max_keepalive_connections=0)  # a task that fails closes the connection
        with httpx.Client(
            base_url=found[1].decode(), trust_env=False, timeout=PATIENCE_S, limits=no_keep_alive
        ) as client:
            yield Recorded(client, folder, log, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def test_events_of_a_request_are_in_order(server: Recorded) -> None:
    response, found = server.get("/two?q=1")
    assert response.json() == "two"
    assert describe_events(found) == [
        "request_received",
        "task_queued tests.apps.recorded.work 0",
        "task_queued tests.apps.recorded.async_work 1",
        "response_sent",
        "task_started tests.apps.recorded.work 0",
        "task_finished tests.apps.recorded.work 0",
        "task_started tests.apps.recorded.async_work 1",
        "task_finished tests.apps.recorded.async_work 1",
        "request_finished",
    ]
    times = [event["t_ns"] for event in found]
    assert times == sorted(times)
    assert [event["where"] for event in found if event["event"] == "task_started"] == ["thread", "loop"]


def test_every_event_has_time_boot_and_process(server: Recorded) -> None:
    before, before_ns = time.monotonic_ns(), coarse_time_ns()
    _, found = server.get("/two")
    for event in found:
        assert before <= event["t_ns"] <= time.monotonic_ns()
        assert before_ns - STAMP_NS <= event["wall_ns"] <= time.time_ns()
        assert (event["boot"], event["pid"]) == (boot_id(), server.pid)
    assert (found[0]["method"], found[0]["path"]) == ("GET", "/two")
    sent = next(event for event in found if event["event"] == "response_sent")
    assert (sent["status"], sent["bytes"]) == (200, len('"two"'))


@pytest.mark.parametrize(
    ("path", "task", "where"),
    [
        ("/from-thread", "tests.apps.recorded.work", "thread"),
        ("/starlette/deep/", "tests.apps.recorded.work", "thread"),
    ],
)
def test_tasks_from_a_thread_and_a_response_are_recorded(server: Recorded, path: str, task: str, where: str) -> None:
    _, found = server.get(path)
    assert [event["event"] for event in found].count("task_queued") == 1
    started = [event for event in found if event["event"] == "task_started"]
    assert [(event["task"], event["n"], event["where"]) for event in started] == [(task, 0, where)]


def test_a_middleware_does_not_change_the_events(server: Recorded) -> None:
    """The response may come later: older versions of Starlette send it while the first task runs."""
    found, other = (describe_events(server.get(path)[1]) for path in ("/middleware/two", "/two"))
    assert sorted(found) == sorted(other)
    found.remove("response_sent")
    other.remove("response_sent")
    assert found == other


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/http-exception", 404, "HTTPException 404"),
        ("/middleware/http-exception", 404, "HTTPException 404"),
        ("/invalid", 422, "RequestValidationError 422"),
        ("/crash", 500, "KeyError 500"),
    ],
)
def test_an_exception_drops_the_queued_tasks(server: Recorded, path: str, status: int, detail: str) -> None:
    response, found = server.get(path)
    assert response.status_code == status
    (dropped,) = [event for event in found if event["event"] == "task_dropped"]
    assert (dropped["task"], dropped["n"], dropped["status"]) == ("tests.apps.recorded.work", 0, status)
    assert (dropped["reason"], dropped["detail"]) == ("exception", detail)


def test_own_background_drops_the_injected_tasks(server: Recorded) -> None:
    _, found = server.get("/own-response")
    (dropped,) = [event for event in found if event["event"] == "task_dropped"]
    assert (dropped["task"], dropped["reason"]) == ("tests.apps.recorded.work", "own-response")
    assert "tests.apps.recorded.async_work" in dropped["detail"]
    assert "task_finished tests.apps.recorded.async_work 1" in describe_events(found)


def test_unknown_cause_of_a_drop_is_recorded_as_unknown(server: Recorded) -> None:
    assert "task_dropped tests.apps.recorded.work 0 unknown" in describe_events(server.get("/unattached")[1])


def test_failing_task_drops_later_ones_and_is_logged(server: Recorded) -> None:
    response, found = server.get("/failing")
    assert response.status_code == 200
    assert describe_events(found)[4:] == [
        "response_sent",
        "task_started tests.apps.recorded.work 0",
        "task_finished tests.apps.recorded.work 0",
        "task_started tests.apps.recorded.fail 1",
        "task_failed tests.apps.recorded.fail 1",
        "task_dropped tests.apps.recorded.async_work 2 earlier-task-failed",
        "request_finished",
    ]
    errors = {event["event"]: event["error"] for event in found if "error" in event}
    assert errors == {"task_failed": "ValueError: no\nmore", "request_finished": "ValueError: no\nmore"}
    tracebacks = {event["event"]: event["traceback"].splitlines() for event in found if "traceback" in event}
    assert tracebacks.keys() == errors.keys()
    assert tracebacks["task_failed"][0] == r"ValueError: no\nmore"
    assert re.fullmatch(r"  /.*/tests/apps/recorded\.py:\d+ in fail", tracebacks["task_failed"][-2])
    assert tracebacks["task_failed"][-2:] == tracebacks["request_finished"][-2:]
    assert b"ValueError: no\n  more\n" in wait_for(
        server.log, rb'raise ValueError\("no\\nmore"\)\n  ValueError: no\n.*\n'
    )


def test_task_has_the_name_of_its_function(server: Recorded) -> None:
    _, found = server.get("/names")
    assert [
        event["task"].removeprefix("tests.apps.recorded.") for event in found if event["event"] == "task_finished"
    ] == [
        "sleep",
        "block",
        "Mailer.send",
        "Mailer",
        "names.<locals>.<lambda>",
        "builtins.dict",
    ]


@pytest.mark.parametrize(
    ("path", "tasks"),
    [
        ("/adds-more", ["adds_more.<locals>.<lambda> 0", "work 1"]),
        ("/nested", ["work 1", "fail 2"]),
        ("/twice", ["work 0", "work 1"]),
        ("/awaited", ["async_work 1", "work 0"]),
    ],
)
def test_unusual_ways_to_run_tasks(server: Recorded, path: str, tasks: list[str]) -> None:
    _, found = server.get(path)
    ended = [event for event in found if event["event"] in ("task_finished", "task_failed")]
    names = [f"{event['task'].removeprefix('tests.apps.recorded.')} {event['n']}" for event in ended]
    assert sorted(names) == sorted(tasks)
    started = [event["n"] for event in found if event["event"] == "task_started"]
    assert len(set(started)) == len(started) == len(tasks)


def test_failure_in_a_nested_collection_drops_the_outer_tasks(server: Recorded) -> None:
    dropped = [event for event in server.get("/nested")[1] if event["event"] == "task_dropped"]
    assert [(event["n"], event["reason"]) for event in dropped] == [(0, "earlier-task-failed")]


def test_a_collection_may_be_a_task(server: Recorded) -> None:
    _, found = server.get("/collection-as-task")
    assert describe_events(found)[4:] == [
        "task_started fastapi.background.BackgroundTasks 1",
        "task_started tests.apps.recorded.work 0",
        "task_finished tests.apps.recorded.work 0",
        "task_finished fastapi.background.BackgroundTasks 1",
        "request_finished",
    ]


def test_a_stream_is_sent_with_its_last_chunk(server: Recorded) -> None:
    _, found = server.get("/streaming")
    assert describe_events(found)[2:4] == ["response_sent", "task_started tests.apps.recorded.work 0"]
    assert found[2]["bytes"] == 3 * len("chunk")


@contextmanager
def only_thread_taken(server: Recorded, request_id: str) -> Iterator[None]:
    """Limit the threads to one, which the task of this request uses until ``/release`` or the end of the block."""
    server.client.get("/one-thread")
    try:
        server.client.get("/long", headers={"X-Fastbg-Request-ID": request_id})
        events_of(server.journal, request_id, until="task_started")
        yield
    finally:
        server.client.get("/release")
        events_of(server.journal, request_id)  # the thread is free again
        server.client.get("/all-threads")


def test_the_time_that_a_task_waits_for_a_thread_is_visible(server: Recorded) -> None:
    with only_thread_taken(server, "first"):
        server.client.get("/two", headers={"X-Fastbg-Request-ID": "second"})
        events_of(server.journal, "second", until="response_sent")
        # The server handles no other request in the step of its event loop in which the task begins to wait.
        server.client.get("/one-thread", headers={"X-Fastbg-Request-ID": "third"})
        waiting_ns = events_of(server.journal, "third", until="request_received")[0]["t_ns"]
        assert "task_started" not in [
            event["event"] for event in events_of(server.journal, "second", until="task_queued")
        ]
    first, second = (
        {event["event"]: event["t_ns"] for event in events_of(server.journal, name)[::-1]}
        for name in ("first", "second")
    )
    assert second["task_started"] >= first["task_finished"]
    started, sent = (
        next(event for event in events_of(server.journal, "second") if event["event"] == name)
        for name in ("task_started", "response_sent")
    )
    at_least_ms, at_most_ms = (
        round((end_ns - begin_ns) / 1e6, 3)  # as in the journal
        for begin_ns, end_ns in ((waiting_ns, first["task_finished"]), (sent["t_ns"], started["t_ns"]))
    )
    assert 0 < at_least_ms <= started["waited_ms"] <= at_most_ms


@pytest.mark.parametrize(
    ("then", "end"), [("/release", "task_finished"), ("/cancel", "task_dropped tests.apps.recorded.work 0 exception")]
)
def test_task_that_waits_for_a_thread_is_not_dropped(server: Recorded, then: str, end: str) -> None:
    with only_thread_taken(server, f"before {then}"):
        _, found = server.get("/not-awaited")
        assert describe_events(found)[1:] == [
            "task_queued tests.apps.recorded.work 0",
            "response_sent",
            "request_finished",
        ]
        server.client.get(then)
        assert end in describe_events(events_of(server.journal, found[0]["request"], until=end.split()[0]))[-1]


def test_a_step_that_blocks_the_event_loop_is_recorded(server: Recorded) -> None:
    """Other steps may be slow on a busy machine: `tests.recorder.test_steps` uses its own clock."""
    _, found = server.get("/blocks-twice?seconds=0.1")
    blocked = [event for event in found if event["event"] == "loop_blocked"]
    assert {(event["task"], event["n"]) for event in blocked} <= {
        ("tests.apps.recorded.block_twice", 0),
        ("asyncio.tasks.sleep", 3),
    }
    own = [event["event"] for event in found if event.get("n") == 0 and event.get("ms", 100) >= 100]
    assert own.count("loop_blocked") >= 2
    assert [name for name, _ in itertools.groupby(own)] == [
        "task_queued",
        "task_started",
        "loop_blocked",
        "task_finished",
    ]


def test_shutdown_records_the_number_of_unfinished_tasks(tmp_path: Path) -> None:
    with served_with_options(tmp_path, timeout_graceful_shutdown=0) as (client, child):
        client.get("/one-thread", headers={"X-Fastbg-Request-ID": "nothing to lose"})
        client.get("/long", headers={"X-Fastbg-Request-ID": "first"})
        events_of(tmp_path / "journal.jsonl", "first", until="task_started")
        client.get("/two", headers={"X-Fastbg-Request-ID": "second"})
        child.send_signal(signal.SIGTERM)
        wait_for(tmp_path / "journal.jsonl", b'"shutdown"')
    stopped = [event for event in read(tmp_path / "journal.jsonl") if event["event"] == "shutdown"][-1]
    assert stopped["request"] is None
    assert stopped["unfinished"] == 1  # the one in the thread; the others were dropped, and recorded as such
    assert stopped["tasks"] == ["threading.Event.wait"]
    assert 0 < stopped["since_ns"] < events_of(tmp_path / "journal.jsonl", "nothing to lose")[0]["t_ns"]
    assert describe_events(events_of(tmp_path / "journal.jsonl", "second"))[-3:] == [
        "task_dropped tests.apps.recorded.work 0 exception",
        "task_dropped tests.apps.recorded.async_work 1 exception",
        "request_finished",
    ]


def test_shutdown_without_unfinished_tasks_is_not_recorded(tmp_path: Path) -> None:
    with served_with_options(tmp_path) as (client, child):
        client.get("/two", headers={"X-Fastbg-Request-ID": "two"})
        events_of(tmp_path / "journal.jsonl", "two")
        child.send_signal(signal.SIGTERM)
        child.wait(PATIENCE_S)
    assert "shutdown" not in [event["event"] for event in read(tmp_path / "journal.jsonl")]


@contextmanager
def served_with_options(folder: Path, **options: int) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    settings = ServerSettings("tests.apps.recorded:app", folder, files=(), app_dir=ROOT, options=tuple(options.items()))
    with (
        ServerProcess(settings) as child,
        httpx.Client(base_url=child.url, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        yield client, child.process


@pytest.mark.parametrize("untrusted", [None, "x" * 129, "café", "tab\tstop"])
def test_an_invalid_request_id_is_replaced(server: Recorded, untrusted: str | None) -> None:
    headers = {} if untrusted is None else {b"X-Fastbg-Request-ID": untrusted.encode("utf-8")}
    found = _id_of_new(server, lambda: server.client.get("/all-threads", headers=headers))
    assert re.fullmatch("[0-9a-f]{32}", found)


@pytest.mark.parametrize(
    ("sent", "recorded"), [("mine", "mine"), ("x" * 128, "x" * 128), ("x" * 129, None), ("é", None)]
)
def test_clients_own_request_id_is_recorded_beside_the_id(server: Recorded, sent: str, recorded: str | None) -> None:
    request_id = f"{len(sent)} {sent.isascii()}"
    server.client.get(
        "/all-threads", headers={b"X-Fastbg-Request-ID": request_id.encode(), b"X-Request-ID": sent.encode()}
    )
    received, *_ = events_of(server.journal, request_id)
    assert received.get("x_request_id") == recorded


def test_quotes_in_an_id_are_kept(server: Recorded) -> None:
    server.client.get("/all-threads", headers={"X-Fastbg-Request-ID": '"\\'})
    assert events_of(server.journal, '"\\')


def test_a_long_path_is_cut(server: Recorded) -> None:
    _, found = server.get("/" + urllib.parse.quote("路" * 3000))
    assert found[0]["path"].startswith("/路路")
    assert max(map(len, server.journal.read_bytes().splitlines())) < 4096


def test_file_sizes_include_writes_before_the_response(server: Recorded) -> None:
    readme = str(server.folder / "README.md")
    assert not any("files" in event for event in events_without_id(server))
    _, found = server.get(f"/writes/{readme}")
    sizes = {event["event"]: event["files"] for event in found if "files" in event}
    assert sizes == {"response_sent": {readme: 4}, "request_finished": {readme: 8}}


def test_writes_while_the_last_byte_is_sent_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, journal = tmp_path / "log.txt", Journal(tmp_path / "journal.jsonl")
    log.touch()
    moments, sending = itertools.count(1), []
    monkeypatch.setattr("fastbg.recorder.response_record.monotonic_ns", lambda: next(moments))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sending.append(next(moments))
            log.write_bytes(b"text")

    async def receive() -> Message:
        raise NotImplementedError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-fastbg-request-id", b"r1")]}
    asyncio.run(Recorder(app, journal, [log])(scope, receive, send))
    _, sent, finished = read(journal.path)
    assert (sent["files"], sent["files_after"], finished["files"]) == ({str(log): 0}, {str(log): 4}, {str(log): 4})
    assert [sent["sending_ns"] + 1, sent["t_ns"] - 1] == sending * 2


def events_without_id(server: Recorded) -> list[Fields]:
    return events_of(server.journal, _id_of_new(server, lambda: server.client.get("/all-threads")))


def _id_of_new(server: Recorded, send: Callable[[], object]) -> str:
    """Return the id that the recorder gives to the request that ``send`` sends."""

    def ids() -> set[str]:
        return {event["request"] for event in read(server.journal) if event["request"] is not None}

    known = ids()
    send()
    wait_until(lambda: ids() > known)
    (found,) = ids() - known
    return found


def test_buffered_bytes_of_a_big_response_are_recorded(server: Recorded) -> None:
    with _connection(server) as connection:
        connection.sendall(b"GET /big?size=50000000 HTTP/1.1\r\nHost: x\r\nX-Fastbg-Request-ID: big\r\n\r\n")
        found = events_of(server.journal, "big", until="response_sent")
        assert found[1]["buffered"] > 1_000_000
        assert found[1]["bytes"] == 50_000_000
    events_of(server.journal, "big")


def test_buffered_shows_a_response_blocked_by_its_own_task(server: Recorded, tmp_path: Path) -> None:
    """This depends on the event loop, see `fastbg.recorder.journal_events`."""
    released = tmp_path / "released"
    with _connection(server) as connection:
        connection.sendall(
            f"GET /blocking?until={released} HTTP/1.1\r\nHost: x\r\nX-Fastbg-Request-ID: blocking\r\n\r\n".encode()
        )
        try:
            found = events_of(server.journal, "blocking", until="task_started")
            if found[1]["buffered"] == 0:
                _receive(connection, b"\r\n\r\nblocking")  # while the task blocks the loop
            else:
                assert found[1]["buffered"] > 0
                assert not select.select([connection], [], [], 0)[0]  # no bytes yet
        finally:
            released.touch()
        if found[1]["buffered"]:
            _receive(connection, b"\r\n\r\nblocking")
    events_of(server.journal, "blocking")


def _receive(connection: socket.socket, wanted: bytes) -> None:
    """Read until ``wanted`` was received."""
    found = b""
    while wanted not in found:
        more = connection.recv(65536)
        assert more, f"{wanted!r} did not come, only {found!r}"
        found += more


@pytest.mark.skipif(
    Version(uvicorn.__version__) < Version("0.32.1"),
    reason="older uvicorn claims ASGI 2.4, and does not raise when the client has left: the stream never ends",
)
def test_a_disconnected_client_only_ends_its_stream(server: Recorded) -> None:
    with _connection(server) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\nX-Fastbg-Request-ID: leaves\r\n\r\n")
        assert connection.recv(1)
    found = describe_events(events_of(server.journal, "leaves"))
    assert "response_sent" not in found
    assert found[-3:] == ["task_finished tests.apps.recorded.work 0", "response_lost", "request_finished"]


def _connection(server: Recorded) -> socket.socket:
    url = server.client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S)


def test_every_line_is_whole(server: Recorded) -> None:
    server.get("/two")
    assert server.journal.read_bytes().endswith(b"\n")
    assert server.journal.stat().st_mode & 0o777 == 0o644
