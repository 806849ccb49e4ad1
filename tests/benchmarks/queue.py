"""The response time and the throughput of the queued example."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from fastbg.evidence.results import percentile
from fastbg.services.broker import Broker
from tests.benchmarks.rows import Row
from tests.support.processes import FASTBG, environment, wait_for
from tests.support.queues import kill_group, serve_queued_example
from tests.support.servers import NO_TLS, uvicorn

PATH = "/send-notification/you@example.com"
REQUESTS, WARM = 2000, 200
TASKS, SLOW_TASKS = 10_000, 2000
SLOW_S = 0.05  # a task that waits for I/O, as most tasks do


def queue() -> list[Row]:
    """Compare the response times of both example apps on one connection, then the throughput of a full queue."""
    plain, queueing = _responses()
    rows = []
    for share, most in ((0.5, 4.0), (0.99, 6.0)):
        ours, floor = percentile(queueing, share) or 0, percentile(plain, share) or 1
        rows.append(
            Row(
                f"response of a queued task, p{share * 100:g}",
                "BackgroundTasks",
                ours / floor,
                f"<= {most:g}",
                ours / floor <= most,
                f"{ours:.2f} / {floor:.2f} ms, {ours - floor:.2f} ms more, {REQUESTS} requests each",
            )
        )
    for number, work_s, least in ((TASKS, 0.0, 0.9), (SLOW_TASKS, SLOW_S, 1.5)):
        one, memory = _tasks(number, 1, work_s)
        two, _ = _tasks(number, 2, work_s)
        detail = f"{two:.0f} / {one:.0f} tasks/s, {number} tasks of {work_s:g} s, 10 in parallel per process"
        rows.append(Row("two worker processes", "one", two / one, f">= {least:g}", two / one >= least, detail))
        if number == TASKS:
            growth = max(memory) / statistics.median(memory)
            detail = f"{max(memory):.0f} / {statistics.median(memory):.0f} MiB during {number} tasks"
            rows.append(Row("peak memory of a worker", "its median", growth, "<= 1.2", growth <= 1.2, detail))
    return rows


def _responses() -> tuple[list[float], list[float]]:
    """Return sorted response times in ms: with `BackgroundTasks` and with the queue. The tasks do no work."""
    times: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        queued_url, broker = stack.enter_context(serve_queued_example(folder))
        stack.enter_context(_workers(folder, broker, 1, 0))
        variables = {"FASTBG_DIR": str(folder / "plain"), "FASTBG_WORK": "0"}
        urls = stack.enter_context(uvicorn("fastbg.example:app", folder, **variables)), queued_url
        clients = [
            stack.enter_context(httpx.Client(base_url=url, verify=NO_TLS, trust_env=False, timeout=30)) for url in urls
        ]
        for number in range(WARM + REQUESTS):
            for client, taken in zip(clients, times, strict=True):
                begin_ns = time.perf_counter_ns()
                client.post(PATH).raise_for_status()
                if number >= WARM:
                    taken.append((time.perf_counter_ns() - begin_ns) / 1e6)
    return sorted(times[0]), sorted(times[1])


def _tasks(number: int, processes: int, work_s: float) -> tuple[float, list[float]]:
    """Return tasks per second from worker start to the last write, and samples of worker memory in MiB."""
    memory = []
    with tempfile.TemporaryDirectory() as name, serve_queued_example(Path(name)) as (_, broker):
        folder = Path(name)
        command = [sys.executable, "-m", "tests.benchmarks.fill", str(number)]
        subprocess.run(command, check=True, env=environment(FASTBG_BROKER=broker.address))
        log = folder / "data" / "log.txt"
        with _workers(folder, broker, processes, work_s) as pid:
            begin = time.perf_counter()
            while (log.read_bytes().count(b"\n") if log.exists() else 0) < number:
                memory.append(_resident_mib(pid))
                time.sleep(0.1)
            end = time.perf_counter()
        lines = log.read_bytes().splitlines()
        if not len(lines) == len(set(lines)) == number:
            raise RuntimeError(f"{len(lines)} lines, {len(set(lines))} distinct, from {number} tasks")
    return number / (end - begin), memory[len(memory) // 10 :]


@contextmanager
def _workers(folder: Path, broker: Broker, number: int, work_s: float) -> Iterator[int]:
    """Run ``fastbg worker`` without a journal, with ``number`` processes. Yield the id of one of them."""
    log = folder / "worker.log"
    options = ["--work", str(work_s), "--broker", broker.address, "--workers", str(number), "--no-record"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*FASTBG, "worker", "--dir", str(folder / "data"), *options],
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(log, b"(Listening started(.|\n)*){%d}" % number)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0])
    finally:
        kill_group(process.pid)
        process.wait()


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
