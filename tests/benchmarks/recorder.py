"""The throughput of a server with and without the recorder, compared with the seed's code under plain uvicorn."""

import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.support.servers import fastbg_serve, uvicorn

ROUNDS = 8
SECONDS = 3
PATH = "/send-notification/a@b.c"
POST = 'wrk.method = "POST"'


def load() -> list[Row]:
    """Compare requests per second of ``fastbg serve`` and the seed's code, in turn, with 16 connections of ``wrk``."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(POST, encoding="utf-8")
        example = ("--work", "0", "--dir", name)
        urls = {
            "record": stack.enter_context(fastbg_serve(*example, cwd=folder)),
            "seed": stack.enter_context(uvicorn("tests.apps.seed:app", folder)),  # runs next to both others
            "no-record": stack.enter_context(fastbg_serve(*example, "--no-record", cwd=folder)),
        }
        rates: dict[str, list[float]] = {server: [] for server in urls}
        for number in range(ROUNDS):
            for server in list(urls) if number % 2 else list(urls)[::-1]:
                for file in ("log.txt", "journal.jsonl"):
                    (folder / file).write_bytes(b"")
                rates[server].append(_rate(urls[server] + PATH, script))
    return [
        _row("fastbg serve", rates["record"], rates["seed"], 0.9),
        _row("fastbg serve --no-record", rates["no-record"], rates["seed"], 0.97),
    ]


def _rate(url: str, script: Path) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{SECONDS}", "-s", str(script), url]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    return float(rate[1])


def _row(what: str, ours: list[float], seed: list[float], least: float) -> Row:
    ratio = statistics.median(one / other for one, other in zip(ours, seed, strict=True))
    values = f"{statistics.median(ours):.0f} / {statistics.median(seed):.0f} requests/s"
    detail = f"{values}, median of {ROUNDS} pairs of {SECONDS} s"
    return Row(f"{what}, the example", "the seed's code, plain uvicorn", ratio, f">= {least}", ratio >= least, detail)
