"""What a script costs under load: requests a second against a bare loop around the same HTTP client, and memory."""

import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from fastbg.run.options import RunOptions
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.benchmarks.rows import Row
from tests.support.processes import peak_memory_mib
from tests.support.servers import fastbg_serve

ROUNDS = 6
REQUESTS = 1500
CONCURRENCY = 50
FEW, MANY = 286, 1430  # times the seven requests of the default script: 2,002 and 10,010
SCRIPT = """
url = "URL"
folder = "${dir}"
follow = ["log.txt"]

[[request]]
name = "notification"
method = "POST"
path = "/send-notification/${mark}@b.c"
expect.body = { message = "Message sent" }
expect.tasks = ["write_log"]
expect.writes = [{ file = "log.txt", text = "message to ${mark}@b.c\\n" }]
"""


def client_overhead() -> list[Row]:
    """One request of the example app, in turn by `Runner` (sent, followed, judged) and by a bare loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours: list[float] = []
        bare: list[float] = []
        with fastbg_serve("--work", "0", "--dir", name, cwd=folder) as url:
            for number in range(ROUNDS):
                for measure in (_ours, _bare) if number % 2 else (_bare, _ours):
                    rate = measure(url, folder)
                    (ours if measure is _ours else bare).append(rate)
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    detail = f"{statistics.median(ours):.0f} / {statistics.median(bare):.0f} requests/s, median of {ROUNDS} pairs"
    floor = "httpx.AsyncClient in a bare loop"
    return [Row(f"--concurrency {CONCURRENCY}", floor, ratio, ">= 0.8", ratio >= 0.8, detail)]


def load_memory() -> list[Row]:
    """The peak of ``fastbg demo`` and of its server with many requests against that with few; none may be lost."""
    ours, floor = _peak(MANY), _peak(FEW)
    detail = f"{ours:.1f} / {floor:.1f} MiB"
    what = f"fastbg demo --concurrency {CONCURRENCY}, peak memory with {7 * MANY:,} requests"
    return [Row(what, f"with {7 * FEW:,} requests", ours / floor, "<= 1.1", ours <= 1.1 * floor, detail)]


def _peak(times: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        load = ("--work", "0", "--repeat", str(times), "--concurrency", str(CONCURRENCY), "--json")
        peak, told = peak_memory_mib("demo", *load, "--dir", name)
    summary = json.loads(told)["summary"]
    if (summary["response_first"], summary["work_first"], summary["no_work"]) != (5 * times, times, times):
        raise RuntimeError(str(summary))
    return peak


def _ours(url: str, folder: Path) -> float:
    source = read_script(SCRIPT.replace("URL", url), "load.toml", folder, {})
    base = ServerSettings("", directory=folder)
    options = RunOptions(folder, 30, base=base, environment=os.environ, repeat=REQUESTS, concurrency=CONCURRENCY)
    result = asyncio.run(Runner(source, options, None).run())
    if not result.ok or result.count("response-first") != REQUESTS:
        raise RuntimeError(f"{result.counts}, {result.remarks}")
    return REQUESTS / result.seconds


def _bare(url: str, folder: Path) -> float:
    async def fire() -> float:
        numbers = iter(range(REQUESTS))
        limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        async with httpx.AsyncClient(base_url=url, limits=limits) as client:

            async def work() -> None:
                for number in numbers:
                    response = await client.post(f"/send-notification/{number}@b.c")
                    if response.json() != {"message": "Message sent"}:
                        raise RuntimeError(response.text)

            begin = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(work())
            return REQUESTS / (time.perf_counter() - begin)

    return asyncio.run(fire())
