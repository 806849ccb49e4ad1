"""What recording costs a request that does nothing, by event loop and HTTP parser.

Both servers are uvicorn with the same app and options, without an access log. One of them serves the app as `fastbg
serve` does, and its journal rotates. The limits are those of a quiet machine.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fastbg.server.app import FACTORY
from fastbg.server.settings import ServerSettings
from tests.benchmarks.rows import Row
from tests.support.processes import PATIENCE_S, environment, wait_for
from tests.support.servers import ROOT, URL

APP = "tests.apps.trivial:app"
JOURNAL_SIZE = 16 * 2**20  # bytes: it rotates some times in a run
PAIRS = 5
SECONDS = 4
# Loop and parser, then the least share of the requests per second for each path.
LIMITS = {("uvloop", "httptools"): {"/none": 0.87, "/task": 0.79}, ("asyncio", "h11"): {"/none": 0.91, "/task": 0.85}}
PATHS = {"/none": "no task", "/task": "one async def task"}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``pid``: of its process."""

    url: str
    pid: int

    def load(self, path: str) -> tuple[float, float]:
        """Return the requests per second with 16 connections of ``wrk``, and the CPU time per request in µs."""
        before_s = _cpu_s(self.pid)
        command = ["wrk", "-t1", "-c16", f"-d{SECONDS}", self.url + path]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        cpu_s = _cpu_s(self.pid) - before_s
        rate, count = re.search(r"Requests/sec:\s+([\d.]+)", output), re.search(r"(\d+) requests in", output)
        if rate is None or count is None or "Non-2xx" in output or "Socket errors" in output:
            raise RuntimeError(output)
        return float(rate[1]), cpu_s / int(count[1]) * 1e6


def recording() -> list[Row]:
    """Compare requests per second with and without the recorder, in turn. The CPU time is more exact."""
    return [_row(stack, path) for stack in LIMITS for path in PATHS]


def _row(stack: tuple[str, str], path: str) -> Row:
    what, must = f"recording, {' + '.join(stack)}, {PATHS[path]}", LIMITS[stack][path]
    missing = [name for name in stack if find_spec(name) is None]
    if missing:
        detail = f"not measured: install {' and '.join(missing)}"
        return Row(what, "plain uvicorn", float("nan"), f">= {must}", ok=False, detail=detail)
    loads: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with ExitStack() as servers:
        running = {records: servers.enter_context(_serve(stack, records=records)) for records in loads}
        for server in running.values():
            server.load(path)  # warms up
        for pair in range(PAIRS):
            for records in loads if pair % 2 else reversed(loads):
                loads[records].append(running[records].load(path))
    floor, ours = loads[False], loads[True]
    ratio = statistics.median(one[0] / other[0] for one, other in zip(ours, floor, strict=True))
    rates = [statistics.median(rate for rate, _ in each) for each in (ours, floor)]
    cpu = [statistics.median(us for _, us in each) for each in (ours, floor)]
    detail = (
        f"{rates[0]:.0f} / {rates[1]:.0f} requests/s, {cpu[0]:.0f} / {cpu[1]:.0f} µs of CPU per request"
        f" ({cpu[1] / cpu[0]:.2f}), median of {PAIRS} pairs of {SECONDS} s"
    )
    return Row(what, "plain uvicorn", ratio, f">= {must}", ratio >= must, detail)


@contextmanager
def _serve(stack: tuple[str, str], *, records: bool) -> Iterator[Server]:
    """Serve `APP` with uvicorn, with or without the recorder."""
    loop, parser = stack
    options = ["--port", "0", "--no-access-log", "--loop", loop, "--http", parser]
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), Path(name) / "server.log"
        settings = ServerSettings(APP, folder, journal_size=JOURNAL_SIZE, app_dir=ROOT)
        app = [FACTORY, "--factory"] if records else [APP]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *app, *options],
                cwd=ROOT,
                env=environment(**settings.environment()),
                stdout=output,
                stderr=output,
            )
        try:
            found = re.search(URL, wait_for(log, URL))
            assert found is not None
            yield Server(found[1].decode(), process.pid)
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
