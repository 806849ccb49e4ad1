"""Sends requests with fastbg, and with plain httpx as a baseline, while the kernel traces them."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fastbg.run.options import RunOptions
from fastbg.run.result_store import MAX_KEPT
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.support import forks
from tests.support.servers import ROOT, fastbg_serve
from tests.truth.compare import Pair, Times
from tests.truth.kernel import TracedRequest, Tracing
from tests.truth.packets import Capture, last_bytes

LOG = "log.txt"
LIMIT_S = 60.0
BUSY_LOOP = "while True: pass"
HEAD = f"""
url = "%s"
folder = "${{dir}}"
follow = ["{LOG}"]
"""
REQUEST = """
[[request]]
name = "%s"
method = "POST"
path = "%s"
headers = { X-Request-ID = "${mark}" }
expect.writes = [{ file = "log.txt", text = "${mark} 0\\n" }]
"""
AFTER_TASKS = 'after = "tasks"\n'


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """A request to `tests.truth.app`. ``path``: with query. ``after_tasks``: sent after the tasks of earlier ones."""

    path: str
    after_tasks: bool = False

    def __str__(self) -> str:
        """Return the request as part of a script, named after the route."""
        route = self.path.partition("?")[0].strip("/")
        if self.after_tasks:
            return REQUEST % (f"{route}, after tasks", self.path) + AFTER_TASKS
        return REQUEST % (route, self.path)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The delays in ns of a minimal client and a minimal watcher: of a response, and of a write."""

    response: list[int]
    write: list[int]


@dataclass(frozen=True, slots=True)
class TruthServer:
    """A server of `tests.truth.app` at ``url``, in ``folder``, under ``tracing``."""

    tracing: Tracing
    folder: Path
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def send(self, specs: Sequence[RequestSpec], repeat: int, concurrency: int = 1) -> list[Pair]:
        """Send the requests ``repeat`` times with fastbg. Return each result with the kernel's times."""
        most = MAX_KEPT // len(specs)  # per run, because a run keeps only so many results
        parts = [most] * (repeat // most) + [repeat % most] * (repeat % most > 0)
        return [pair for part in parts for pair in self._send(specs, part, min(concurrency, part))]

    def _send(self, specs: Sequence[RequestSpec], repeat: int, concurrency: int) -> list[Pair]:
        text = HEAD % self.url + "".join(map(str, specs))
        source = read_script(text, "truth.toml", self.folder, {})
        base = ServerSettings("", directory=self.folder)
        options = RunOptions(self.folder, LIMIT_S, base, os.environ, repeat=repeat, concurrency=concurrency)
        self.tracing.clear()
        with Capture(self.port) as capture:
            results = asyncio.run(Runner(source, options, None).run()).requests
            left = last_bytes(capture.packets(), self.port)
        traced = self.tracing.read()
        return [(said, times_of(said.trace.request_id, left, traced)) for said in results]

    def baseline(self, specs: RequestSpec, count: int, concurrency: int = 1, work_s: float = 0) -> Baseline:
        """Send ``count`` requests with plain httpx, while a separate process watches the log.

        ``work_s``: duration of the tasks. Parallel workers wait for it after every second request.
        """
        self.tracing.clear()
        log = self.folder / LOG
        begin = log.stat().st_size
        with _watching(log) as watcher, Capture(self.port) as capture:
            complete = asyncio.run(_send_with_httpx(self.url, specs, count, concurrency, work_s))
            traced = self._read_when_written(complete)
            left = last_bytes(capture.packets(), self.port)
            describe, _ = watcher.communicate(b"\n")
        sightings = [(int(t_ns), int(size)) for t_ns, size in (line.split() for line in describe.splitlines())]
        seen, end = {}, begin
        for line in log.read_bytes()[begin:].splitlines(keepends=True):
            end += len(line)
            seen[line.decode().split()[0]] = next(t_ns for t_ns, size in sightings if size >= end)
        return Baseline(
            [t_ns - left[request_id] for request_id, t_ns in complete.items()],
            [seen[request_id] - traced[request_id].writes[0].end_ns for request_id in complete],
        )

    def _read_when_written(self, request_ids: Iterable[str]) -> Mapping[str, TracedRequest]:
        """Wait until the trace has the writes of all requests, and return it."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            traced = self.tracing.read()
            if all(request_id in traced and traced[request_id].writes for request_id in request_ids):
                return traced
            time.sleep(0.1)
        raise RuntimeError(f"the tasks did not write within {LIMIT_S:g} s")


@contextmanager
def truth_server() -> Iterator[TruthServer]:
    """Start a traced server. Raises `UnavailableError` if tracing is not available."""
    with ExitStack() as stack:
        tracing = stack.enter_context(Tracing())
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastbg-truth-"))
        variables = {"PYTHONPATH": str(ROOT), "TRUTH_MARKER": str(tracing.marker)}
        stack.enter_context(forks.not_used())  # the kernel traces the processes that this one starts from now on
        url = stack.enter_context(fastbg_serve("tests.truth.app:app", "--dir", name, cwd=Path(name), **variables))
        yield TruthServer(tracing, Path(name), url)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run ``count`` processes that use a core each."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY_LOOP]))
            stack.callback(process.kill)
        yield


def times_of(request_id: str, left: Mapping[str, int], traced: Mapping[str, TracedRequest]) -> Times:
    """Return the kernel's times of a request."""
    request = traced[request_id]
    return Times(request.sends[-1], left[request_id], request.started_ns.get("0"), request.writes[0])


async def _send_with_httpx(url: str, specs: RequestSpec, count: int, concurrency: int, work_s: float) -> dict[str, int]:
    """Return by request id when the client had the complete response."""
    complete: dict[str, int] = {}
    numbers = iter(range(count))

    async def work() -> None:
        for turn, number in enumerate(numbers):  # shared by all workers
            request_id = f"bare-{time.monotonic_ns()}-{number}"
            response = await client.post(specs.path, headers={"X-Request-ID": request_id})
            complete[request_id] = time.monotonic_ns()
            response.raise_for_status()
            if turn % 2 and concurrency > 1:
                await asyncio.sleep(work_s)

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with (
        httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, timeout=LIMIT_S) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(concurrency):
            group.create_task(work())
    return complete


@contextmanager
def _watching(log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.truth.watcher", str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
        try:
            if watcher.stdout is None or watcher.stdout.readline() != b"watching\n":
                raise RuntimeError("the watcher of the log did not start")
            yield watcher
        finally:
            watcher.kill()
