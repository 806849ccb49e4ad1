"""Queued tasks in bad cases: tasks that always raise, workers that die, journals of two boots, many tasks."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from nats.js import JetStreamContext

from fastbg.events import Event, boot_id
from fastbg.evidence.tasks import tasks_of
from fastbg.evidence.verdict import judge
from tests.services.test_worker import IMPATIENT, events, serving, worker
from tests.support import traces
from tests.support.journals import read
from tests.support.processes import PATIENCE_S, fastbg, wait_until
from tests.support.queues import hold_appends, message_count, query_broker, reserve_port
from tests.support.servers import fetch


def requests(folder: Path, name: str) -> set[str]:
    """Return the requests of these events: a task that is delivered again has more events than requests."""
    return {event["request"] for event in events(folder, name)}


def broker_of(folder: Path) -> str:
    return (folder / ".fastbg" / "broker" / "address").read_text().strip()


def test_task_that_always_raises_is_given_up_and_kept(tmp_path: Path) -> None:
    with serving(tmp_path, "--work", "0") as url:
        (tmp_path / ".fastbg" / "log.txt").mkdir()  # a task cannot append to a folder
        with worker(tmp_path, "--work", "0"):
            answer = fetch("POST", f"{url}/send-notification/a@example.com", headers={"X-Request-ID": "poison"})
            assert answer.status_code == 200
            wait_until(lambda: len(events(tmp_path, "task_failed")) == 1)
            wait_until(lambda: query_broker(broker_of(tmp_path), message_count) == 1)

            async def kept(js: JetStreamContext) -> Any:
                return await js.get_last_msg("fastbg", "fastbg.failed")

            message = query_broker(broker_of(tmp_path), kept)
    named = Counter(event["event"] for event in read(tmp_path / ".fastbg" / "journal.jsonl"))
    assert (named["task_queued"], named["task_started"], named["task_retried"], named["task_failed"]) == (1, 3, 2, 1)
    assert "IsADirectoryError" in events(tmp_path, "task_failed")[0]["error"]
    assert "IsADirectoryError" in events(tmp_path, "task_failed")[0]["traceback"].splitlines()[0]
    assert json.loads(message.data)["args"] == ["message to a@example.com\n", "poison"]
    assert "IsADirectoryError" in message.headers["error"]


def test_report_says_failed_after_the_last_try(tmp_path: Path) -> None:
    with serving(tmp_path, "--work", "0") as url:
        (tmp_path / ".fastbg" / "log.txt").mkdir()
        with worker(tmp_path, "--work", "0"):
            assert fetch("POST", f"{url}/send-notification/a@example.com").status_code == 200
            wait_until(lambda: len(events(tmp_path, "task_failed")) == 1)
    shown = json.loads(fastbg("report", ".fastbg/journal.jsonl", "--json", cwd=tmp_path).stdout)
    assert [request["verdict"] for request in shown["requests"]] == ["failed"]


def test_tasks_of_a_killed_worker_are_done_by_the_next_one(tmp_path: Path) -> None:
    log = tmp_path / ".fastbg" / "log.txt"
    with serving(tmp_path, "--work", "0", **IMPATIENT) as url:
        with worker(tmp_path, "--work", "0", **IMPATIENT) as killed, hold_appends(log):
            for number in range(5):
                assert fetch("POST", f"{url}/send-notification/{number}@example.com").status_code == 200
            wait_until(lambda: len(requests(tmp_path, "task_started")) == 5)
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait(PATIENCE_S)
        assert events(tmp_path, "task_finished") == []
        assert not log.exists() or not log.read_bytes()
        with worker(tmp_path, "--work", "0", log="next.log", **IMPATIENT):
            wait_until(lambda: len(requests(tmp_path, "task_finished")) == 5)
            wait_until(lambda: query_broker(broker_of(tmp_path), message_count) == 0)
    lines = log.read_text().splitlines()
    assert sorted(lines) == [f"message to {number}@example.com" for number in range(5)]


def test_tasks_survive_the_end_of_server_and_broker(tmp_path: Path) -> None:
    reserve_port(tmp_path / ".fastbg")
    with serving(tmp_path, "--work", "0") as url:
        for number in range(5):
            assert fetch("POST", f"{url}/send-notification/{number}@example.com").status_code == 200
        first = broker_of(tmp_path)
    with serving(tmp_path, "--work", "0"), worker(tmp_path, "--work", "0"):
        assert broker_of(tmp_path) == first
        wait_until(lambda: len(events(tmp_path, "task_finished")) == 5)


# two boots in one journal

HERE, THERE = "boot-of-the-server", "boot-of-the-worker"
TASK = {"task": "shop.mail", "n": 0}


def line(t_ms: float, event: str, boot: str, **fields: Any) -> str:
    about = {"t_ns": int(t_ms * 1e6), "wall_ns": 1, "boot": boot, "pid": 1, "event": event, "request": "r1", **fields}
    return json.dumps(about) + "\n"


def by_worker(t_ms: float, event: str, boot: str = THERE) -> str:
    return line(t_ms, event, boot, **TASK, where="worker", worker="worker-0@far", server=f"{HERE}/1")


def journal(*of_worker: str) -> str:
    return "".join(
        (
            line(1000, "request_received", HERE, method="POST", path="/mail"),
            line(1001, "task_queued", HERE, **TASK, where="worker"),
            line(1002, "response_sent", HERE, status=200, bytes=2, buffered=0),
            line(1003, "request_finished", HERE),
            *of_worker,
        )
    )


def reported(folder: Path, text: str) -> dict[str, Any]:
    (folder / "journal.jsonl").write_text(text)
    shown = fastbg("report", "journal.jsonl", "--json", cwd=folder)
    assert shown.returncode == 0, shown
    (request,) = json.loads(shown.stdout)["requests"]
    return dict(request)


def test_times_of_another_boot_prove_nothing_and_are_not_shown(tmp_path: Path) -> None:
    for begin_ms in (5, 5_000_000):  # before and after the server's times
        request = reported(tmp_path, journal(by_worker(begin_ms, "task_started"), by_worker(begin_ms, "task_finished")))
        (task,) = request["tasks"]
        assert (task["state"], task["where"], task["started_ms"], task["finished_ms"]) == (
            "finished",
            "worker",
            None,
            None,
        )
        assert request["verdict"] == "unproven"
    shown = fastbg("report", "journal.jsonl", cwd=tmp_path).stdout.decode()
    assert "a worker under another boot ran the task" in " ".join(shown.split())


def test_times_of_the_same_boot_prove_the_order(tmp_path: Path) -> None:
    after = journal(by_worker(1004, "task_started", HERE), by_worker(1500, "task_finished", HERE))
    assert (reported(tmp_path, after)["verdict"], reported(tmp_path, after)["evidence"]) == (
        "response-first",
        ["server+worker"],
    )
    before = journal(by_worker(1001.5, "task_started", HERE), by_worker(1500, "task_finished", HERE))
    assert reported(tmp_path, before)["verdict"] == "unproven"


def test_task_that_no_worker_took_is_lost(tmp_path: Path) -> None:
    assert reported(tmp_path, journal())["verdict"] == "lost"
    assert reported(tmp_path, journal(by_worker(5, "task_started")))["verdict"] == "lost"


def test_demo_compares_no_times_with_another_boot() -> None:
    trace = traces.sent(traces.answered(traces.trace(writes=0), 2000, size=100), 1500, size=100)
    about: dict[str, Any] = {**TASK, "where": "worker", "server": f"{boot_id()}/1"}
    trace.answered = True
    trace.events.append(Event(1400_000, "server", "task_queued", "r1", {**TASK, "where": "worker", "boot": boot_id()}))
    trace.events.append(traces.event(3000, "server", "request_finished"))
    assert not trace.settled
    trace.events.append(Event(1, "server", "task_started", "r1", {**about, "boot": THERE}))
    assert not trace.settled
    trace.events.append(Event(2, "server", "task_finished", "r1", {**about, "boot": THERE}))
    assert trace.settled
    assert judge(trace).verdict == "unproven"
    assert "another boot" in traces.why(judge(trace))


# delivered more than once


def worker_events(*names: str) -> list[Event]:
    about = {**TASK, "where": "worker", "server": "b/1", "boot": "b"}
    return [Event(number, "server", name, "r1", about) for number, name in enumerate(names, 1)]


def test_repeated_deliveries_do_not_change_the_end_of_a_task() -> None:
    (task,) = tasks_of(worker_events("task_queued", "task_started", "task_started", "task_finished", "task_started"))
    assert (task.state, task.started_ns, task.ended_ns, task.tries) == ("finished", 2, 4, 3)
    (task,) = tasks_of(worker_events("task_queued", "task_started", "task_retried", "task_started"))
    assert (task.state, task.tries) == ("started", 2)
    (task,) = tasks_of(worker_events("task_queued", "task_started", "task_retried", "task_started", "task_failed"))
    assert (task.state, task.ended_ns) == ("failed", 5)


def test_worker_faster_than_the_confirmation_keeps_the_order() -> None:
    (task,) = tasks_of(reversed(worker_events("task_queued", "task_started", "task_finished")))
    assert task.state == "finished"
