"""The cost of a script under load: requests per second, compared with a plain httpx loop, and memory."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from fastbg.run.options import RunOptions
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.benchmarks.rows import Row
from tests.support.processes import environment, peak_memory_mib
from tests.support.servers import fastbg_serve

ROUNDS = 6
REQUESTS = 1500
CONCURRENCY = 50
FEW, MANY = 286, 1430  # repetitions of the default script with its seven requests: 2,002 and 10,010
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
    """Send one request of the example app, in turn with `Runner` and in plain loops, in a process of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fastbg_rates: list[float] = []
        bare_rates: list[float] = []
        with fastbg_serve("--work", "0", "--dir", name, cwd=folder) as url:
            for number in range(ROUNDS):
                for measure in (_fastbg_rate, _bare_rate) if number % 2 else (_bare_rate, _fastbg_rate):
                    rate = measure(url, folder)
                    (fastbg_rates if measure is _fastbg_rate else bare_rates).append(rate)
    ratio = statistics.median(one / other for one, other in zip(fastbg_rates, bare_rates, strict=True))
    values = f"{statistics.median(fastbg_rates):.0f} / {statistics.median(bare_rates):.0f} requests/s"
    detail = f"{values}, median of {ROUNDS} pairs"
    floor = "plain loops, each with its httpx.AsyncClient"
    return [Row(f"--concurrency {CONCURRENCY}", floor, ratio, ">= 0.8", ratio >= 0.8, detail)]


def load_memory() -> list[Row]:
    """Compare the peak memory of ``fastbg demo`` and its server for many and few requests. None may be lost."""
    ours, floor = _peak(MANY), _peak(FEW)
    detail = f"{ours:.1f} / {floor:.1f} MiB"
    what = f"fastbg demo --concurrency {CONCURRENCY}, peak memory with {7 * MANY:,} requests"
    return [Row(what, f"with {7 * FEW:,} requests", ours / floor, "<= 1.1", ours <= 1.1 * floor, detail)]


def _peak(times: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        load = ("--work", "0", "--repeat", str(times), "--concurrency", str(CONCURRENCY), "--json")
        peak, output = peak_memory_mib("demo", *load, "--dir", name)
    summary = json.loads(output)["summary"]
    if (summary["response_first"], summary["work_first"], summary["no_work"]) != (5 * times, times, times):
        raise RuntimeError(str(summary))
    return peak


def _fastbg_rate(url: str, folder: Path) -> float:
    source = read_script(SCRIPT.replace("URL", url), "load.toml", folder, {})
    base = ServerSettings("", directory=folder)
    options = RunOptions(folder, 30, base=base, environment=os.environ, repeat=REQUESTS, concurrency=CONCURRENCY)
    result = asyncio.run(Runner(source, options, None).run())
    if not result.ok or result.count("response-first") != REQUESTS:
        raise RuntimeError(f"{result.counts}, {result.remarks}")
    return REQUESTS / result.seconds


def _bare_rate(url: str, folder: Path) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.plain_client", url, str(REQUESTS), str(CONCURRENCY)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, env=environment(), check=True).stdout)
