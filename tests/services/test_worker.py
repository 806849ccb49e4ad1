"""``fastbg serve --engine queue`` and ``fastbg worker``: their output, the journal, and how they end."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fastbg.services.broker import Broker, known_address
from fastbg.services.worker import cancellable, shorten
from tests.support.journals import read
from tests.support.processes import (
    FASTBG,
    PATIENCE_S,
    environment,
    fastbg,
    is_running,
    is_stopped,
    wait_for,
    wait_until,
)
from tests.support.queues import LONG_TIMEOUTS, hold_appends, kill_group
from tests.support.servers import fastbg_serve, fetch

IMPATIENT = {"FASTBG_BROKER_ACK_WAIT": "3"}  # seconds without a sign of the worker: its task is delivered again


@contextmanager
def worker(
    cwd: Path,
    *arguments: str,
    log: str = "worker.log",
    command: Sequence[str] = FASTBG,
    ready: str = "Listening started",
    **variables: str,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``fastbg worker`` in the folder ``cwd``, and wait for ``ready``. ``command``: how fastbg is started.

    A task may take as long as `PATIENT` allows, unless ``variables`` change that: `serving` needs the same ones.
    """
    with (cwd / log).open("wb") as output:
        process = subprocess.Popen(
            [*command, "worker", *arguments],
            cwd=cwd,
            env=environment(**(LONG_TIMEOUTS | variables)),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(cwd / log, ready.encode())
        yield process
    finally:
        kill_group(process.pid)
        process.wait()


def serving(cwd: Path, *arguments: str, **variables: str) -> AbstractContextManager[str]:
    """Run ``fastbg serve --engine queue`` in the folder ``cwd``, with the time limits `PATIENT`; yield its URL."""
    return fastbg_serve("--engine", "queue", *arguments, cwd=cwd, **(LONG_TIMEOUTS | variables))


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read(folder / ".fastbg" / "journal.jsonl") if event["event"] == name]


def pids(folder: Path, name: str) -> set[int]:
    """Return the processes that recorded this event: a task that is delivered again has more events than processes."""
    return {event["pid"] for event in events(folder, name)}


def test_worker_events_belong_to_the_queuing_request(tmp_path: Path) -> None:
    with serving(tmp_path, "--work", "0") as url, worker(tmp_path, "--work", "0"):
        path = "/send-notification/you@example.com?q=hello"
        assert fetch("POST", url + path, headers={"X-Fastbg-Request-ID": "mine"}).status_code == 200
        wait_until(lambda: len(events(tmp_path, "task_finished")) == 2)
        (received,) = events(tmp_path, "request_received")
        queued, finished = events(tmp_path, "task_queued"), events(tmp_path, "task_finished")
    assert {event["request"] for event in (received, *queued, *finished)} == {"mine"}
    assert {event["task"] for event in queued + finished} == {"fastbg.example.queued.write_log"}
    assert sorted(event["n"] for event in finished) == [0, 1]
    assert {event["where"] for event in queued + finished} == {"worker"}
    assert {event["server"] for event in finished} == {f"{received['boot']}/{received['pid']}"}
    assert received["pid"] not in {event["pid"] for event in finished}
    assert all(re.match(r"worker-0@.", event["worker"]) for event in finished)


SPAWNING = """
import multiprocessing
from fastbg.cli import main
multiprocessing.set_start_method("spawn")
main()
"""


def test_spawned_workers_write_their_log(tmp_path: Path) -> None:
    """Python 3.14 does not fork by default, nor does Python on macOS."""
    with serving(tmp_path), worker(tmp_path, command=[sys.executable, "-c", SPAWNING]):
        log = (tmp_path / "worker.log").read_bytes()
    assert re.search(rb"\[worker-0\] Listening started", log)


def test_report_and_tail_show_what_workers_did(tmp_path: Path) -> None:
    with serving(tmp_path, "--work", "0.3") as url, worker(tmp_path, "--work", "0.3"):
        assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 200
        wait_until(lambda: len(events(tmp_path, "task_finished")) == 1)
    report = fastbg("report", ".fastbg/journal.jsonl", "--json", cwd=tmp_path)
    (request,) = json.loads(report.stdout)["requests"]
    (task,) = request["tasks"]
    assert (task["task"], task["state"], task["where"]) == ("fastbg.example.queued.bg_task", "finished", "worker")
    tail = fastbg("tail", "--no-follow", cwd=tmp_path).stdout.decode()
    assert re.search(r"POST /background_tasks .* after the response  bg_task finished\n", tail)


def is_answered(folder: Path, path: str) -> bool:
    ids = {event["request"] for event in events(folder, "request_received") if event["path"] == path}
    return any(event["request"] in ids for event in events(folder, "response_sent"))


def test_demo_waits_for_workers_and_proves_their_order(tmp_path: Path) -> None:
    """The worker starts after the last response: a task that starts earlier does not prove an order."""
    with serving(tmp_path, "--work", "0") as url, ThreadPoolExecutor() as pool:
        demo = pool.submit(fastbg, "demo", "--url", url, "--timeout", f"{PATIENCE_S:g}", "--json", cwd=tmp_path)
        wait_until(lambda: demo.done() or is_answered(tmp_path, "/foreground_tasks"))  # the last request
        with worker(tmp_path, "--work", "0"):
            result = demo.result()
    requests = {request["name"]: request for request in json.loads(result.stdout)["requests"]}
    assert result.returncode == 0, result
    queued = [request for request in requests.values() if request["tasks"]]
    assert {task["where"] for request in queued for task in request["tasks"]} == {"worker"}
    assert {task["state"] for request in queued for task in request["tasks"]} == {"finished"}
    assert {request["verdict"] for request in queued} == {"response-first"}
    assert all("server+worker" in request["evidence"] for request in queued)


def test_task_that_no_broker_took_is_dropped_in_the_journal(tmp_path: Path) -> None:
    with fastbg_serve("--engine", "queue", "--broker", "nats://127.0.0.1:1", cwd=tmp_path) as url:
        assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 503
        wait_until(lambda: len(events(tmp_path, "task_dropped")) == 1)
        (dropped,) = events(tmp_path, "task_dropped")
    assert (dropped["reason"], dropped["status"]) == ("broker", 503)


def test_serve_shows_its_broker_and_the_next_command(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [*FASTBG, "serve", "--engine", "queue", "--port", "0"], cwd=tmp_path, env=environment(), stdout=output
        )
    try:
        said = wait_for(tmp_path / "log", rb"curl -X POST.*\n").decode()
        (url,) = re.findall(r"at (http://\S+) ", said)
        assert fetch("GET", f"{url}/docs").status_code == 200
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    address = known_address(tmp_path / ".fastbg")
    assert f"broker       {address}, an embedded NATS server" in said
    assert f"\n  fastbg worker --dir {tmp_path / '.fastbg'}\n" in said


def test_embedded_broker_ends_with_its_server(tmp_path: Path) -> None:
    pattern = rb"Server id|Starting nats-server"
    for number in (signal.SIGTERM, signal.SIGKILL):
        with (tmp_path / "log").open("wb") as output:
            process = subprocess.Popen(
                [*FASTBG, "serve", "--engine", "queue", "--port", "0"], cwd=tmp_path, env=environment(), stdout=output
            )
        wait_for(tmp_path / "log", rb"curl -X POST")
        log = wait_for(tmp_path / ".fastbg" / "broker" / "nats.log", pattern)
        pid = int(re.findall(rb"^\[(\d+)\]", log, re.MULTILINE)[-1])
        assert is_running(pid)
        process.send_signal(number)
        process.wait(PATIENCE_S)
        wait_until(lambda: not is_running(pid))  # noqa: B023  # called in this iteration


def test_two_servers_do_not_share_an_embedded_broker(tmp_path: Path) -> None:
    with serving(tmp_path):
        result = fastbg("serve", "--engine", "queue", "--port", "0", cwd=tmp_path)
        assert result.returncode == 2
        assert f"--broker {known_address(tmp_path / '.fastbg')}".encode() in result.stderr


def test_password_of_a_broker_is_not_shown(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [*FASTBG, "serve", "--engine", "queue", "--port", "0", "--broker", "nats://me:secret@127.0.0.1:1"],
            cwd=tmp_path,
            env=environment(),
            stdout=output,
        )
    try:
        said = wait_for(tmp_path / "log", rb"curl -X POST").decode()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert "secret" not in said
    assert "nats://…@127.0.0.1:1" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker"], "start `fastbg serve --engine queue`"),
        (["worker", "--broker", "nats://127.0.0.1:1", "json:dumps"], "the broker could not be loaded: TypeError"),
        (["worker", "--broker", "nats://127.0.0.1:1", "nowhere:broker"], "No module named 'nowhere'"),
        (["worker", "--broker", "nats://127.0.0.1:1", "os:sep"], "not a Taskiq broker, but str"),
    ],
)
def test_worker_that_cannot_start_reports_why(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = fastbg(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr.decode()


@pytest.mark.parametrize("command", [["serve", "--engine", "queue"], ["worker"]])
def test_without_the_extra_the_error_has_the_install_command(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "taskiq.py").write_text("raise ModuleNotFoundError('No module named taskiq', name='taskiq')")
    result = fastbg(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert b"fix: pip install '.[queue]'" in result.stderr


def test_worker_finishes_running_tasks_after_sigterm(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--work", "0") as url,
        worker(tmp_path, "--work", "0") as process,
    ):
        with hold_appends(tmp_path / ".fastbg" / "README.md"):
            assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 200
            wait_until(lambda: len(events(tmp_path, "task_started")) == 1)
            process.terminate()
            wait_for(tmp_path / "worker.log", b"Waiting for 1 running tasks")
            assert process.poll() is None
            assert events(tmp_path, "task_finished") == []
        assert process.wait(PATIENCE_S) == 0
        assert len(events(tmp_path, "task_finished")) == 1
        assert (tmp_path / ".fastbg" / "README.md").exists()
    assert len(events(tmp_path, "task_started")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worker_whose_broker_is_unreachable_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with worker(tmp_path, "--broker", "nats://127.0.0.1:1", ready="Connect call failed") as process:
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    log = (tmp_path / "worker.log").read_text()
    assert "the broker cannot be used: " in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("address", "reason"),
    [("nats://127.0.0.1:1", b"Connect call failed"), ("nats://no..host:4222", b"label empty or too long")],
)
def test_server_without_its_broker_shows_no_traceback(tmp_path: Path, address: str, reason: bytes) -> None:
    command = [*FASTBG, "serve", "--engine", "queue", "--port", "0", "--broker", address]
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=output)
    try:
        assert b"Traceback" not in wait_for(tmp_path / "log", rb"(?s)" + reason + b".*" + reason)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_worker_whose_broker_was_killed_ends_without_traceback(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, worker(tmp_path, "--broker", broker.address) as process:
        broker.kill()
        wait_for(tmp_path / "worker.log", b"the broker cannot be used: .*Connect call failed")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in (tmp_path / "worker.log").read_text()


def test_network_error_of_any_broker_is_one_line() -> None:
    for error in (OSError("refused"), UnicodeError("label too long")):
        record = logging.LogRecord(
            "nats", logging.ERROR, "", 1, "nats: encountered error", (), (type(error), error, None)
        )
        assert shorten(record)
        assert (record.getMessage(), record.exc_info) == (f"nats: encountered error: {error}", None)


def test_each_task_is_given_to_one_of_several_worker_processes(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--work", "0") as url,
        worker(tmp_path, "--work", "0", "--workers", "2", "--threads", "1"),
    ):
        with hold_appends(tmp_path / ".fastbg" / "log.txt"):  # each process takes one task, and waits
            for number in range(20):
                assert fetch("POST", f"{url}/send-notification/{number}@example.com").status_code == 200
            wait_until(lambda: len(events(tmp_path, "task_started")) == 2)
        wait_until(lambda: len({event["request"] for event in events(tmp_path, "task_finished")}) == 20)
        started = events(tmp_path, "task_started")
    assert (len(started), len({event["pid"] for event in started})) == (20, 2)


def test_worker_processes_end_with_a_manager_that_is_killed(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--work", "0") as url,
        worker(tmp_path, "--work", "0") as process,
    ):
        assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 200
        wait_until(lambda: len(events(tmp_path, "task_finished")) == 1)
        (event,) = events(tmp_path, "task_finished")
        process.kill()
        wait_until(lambda: not is_running(event["pid"]))


def test_task_of_a_worker_that_hangs_is_done_by_another_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--work", "0", **IMPATIENT) as url:
        with worker(tmp_path, "--work", "0", **IMPATIENT) as hanging:
            with hold_appends(tmp_path / ".fastbg" / "log.txt"):
                assert fetch("POST", f"{url}/send-notification/a@example.com").status_code == 200
                wait_until(lambda: len(pids(tmp_path, "task_started")) == 1)
                (pid,) = pids(tmp_path, "task_started")
                os.killpg(hanging.pid, signal.SIGSTOP)
                wait_until(lambda: is_stopped(pid))
            with worker(tmp_path, "--work", "0", log="other.log", **IMPATIENT):
                wait_until(lambda: len(pids(tmp_path, "task_finished")) == 1)
                assert pids(tmp_path, "task_finished") != {pid}
                os.killpg(hanging.pid, signal.SIGCONT)
                wait_until(lambda: len(pids(tmp_path, "task_finished")) == 2)
        assert (tmp_path / ".fastbg" / "log.txt").read_text() == "message to a@example.com\n"
        assert len(pids(tmp_path, "task_started")) == 2


def test_worker_ends_although_its_broker_continues_to_listen() -> None:
    async def test() -> None:
        end, listening = asyncio.Event(), asyncio.Event()

        async def ignores_cancellation() -> AsyncGenerator[int, None]:
            yield 1
            while not end.is_set():
                listening.set()
                with suppress(asyncio.CancelledError):
                    await end.wait()

        messages = cancellable(ignores_cancellation)
        assert await anext(messages) == 1
        waiting = asyncio.ensure_future(anext(messages))
        await listening.wait()
        waiting.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        end.set()

    asyncio.run(test())
