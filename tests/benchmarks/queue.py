"""What a queue costs and what it carries: ``python -m tests.benchmarks.queue``, a few minutes, a table in Markdown.

Responses: one client, one connection, the two example apps asked in turn, so that whatever else the machine does meets
both alike. Tasks: put into the queue first, then from the start of the work to the last effect in the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from fastbg.broker import Broker
from fastbg.results import percentile
from tests.processes import FASTBG, environment, wait_for
from tests.queues import kill_group, queued
from tests.servers import NO_TLS, uvicorn

PATH = "/send-notification/you@example.com"


@contextmanager
def workers(folder: Path, broker: Broker, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """``fastbg worker`` with so many processes, on the tasks of the example, without a journal."""
    log = folder / f"worker-{time.monotonic_ns()}.log"
    command = [*FASTBG, "worker", "--dir", str(folder / "data"), "--work", "0", "--broker", broker.address]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--workers", str(number), "--no-record"],
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(log, b"Listening started")
        yield process
    finally:
        kill_group(process.pid)
        process.wait()


def responses(requests: int) -> None:
    """p50 and p99 of the response, tasks in the process and queued."""
    times: dict[str, list[float]] = {"BackgroundTasks": [], "queued": []}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        queued_url, broker = stack.enter_context(queued(folder))
        plain = stack.enter_context(
            uvicorn("fastbg.example:app", cwd=folder, FASTBG_DIR=str(folder / "plain"), FASTBG_WORK="0")
        )
        stack.enter_context(workers(folder, broker, 1))
        clients = {
            kind: stack.enter_context(httpx.Client(base_url=url, verify=NO_TLS, trust_env=False))
            for kind, url in (("BackgroundTasks", plain), ("queued", queued_url))
        }
        for number in range(requests + 100):
            for kind, client in clients.items():
                begin_ns = time.perf_counter_ns()
                client.post(PATH).raise_for_status()
                if number >= 100:
                    times[kind].append((time.perf_counter_ns() - begin_ns) / 1e6)
    print("| response, ms | p50 | p99 |\n| --- | --- | --- |")
    for kind, taken in times.items():
        taken.sort()
        print(f"| {kind} | {percentile(taken, 0.5):.2f} | {percentile(taken, 0.99):.2f} |")


def resident_mib(pid: int) -> float:
    """The memory of a process that only it has, and that it shares."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def tasks(number: int, processes: int) -> None:
    """Tasks a second, from enqueue and from a full queue to the last effect, and the memory meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with queued(folder) as (_, broker):
            begin = time.perf_counter()
            command = [sys.executable, "-m", "tests.benchmarks.fill", str(number)]
            subprocess.run(command, check=True, env=environment(FASTBG_BROKER=broker.address))
            filled = time.perf_counter()
            memory = [resident_mib(broker.pid or 0)]
            with workers(folder, broker, processes):
                work_begin = time.perf_counter()
                log = folder / "data" / "log.txt"
                while (done := log.read_bytes().count(b"\n") if log.exists() else 0) < number:
                    memory.append(resident_mib(broker.pid or 0))
                    sys.stderr.write(f"\r{done} of {number} ")
                    time.sleep(0.2)
                end = time.perf_counter()
            lines = log.read_bytes().splitlines()
            assert len(lines) == len(set(lines)) == number
    sys.stderr.write("\r")
    print(
        f"| {processes} | {number} | {number / (filled - begin):.0f} | {number / (end - work_begin):.0f} "
        f"| {min(memory):.0f} to {max(memory):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=10_000)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores\n")
    responses(options.requests)
    print("\n| worker processes | tasks | queued a second | done a second | broker's memory, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for processes in (1, 2):
        tasks(options.tasks, processes)


if __name__ == "__main__":
    main()
