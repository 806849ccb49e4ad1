"""Fires requests, with fastbg and with as little as possible, while the kernel looks on."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fastbg.evidence.results import RequestResult
from fastbg.run.options import RunOptions
from fastbg.run.result_store import MAX_KEPT
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.support.servers import ROOT, fastbg_serve
from tests.truth.compare import MARGIN_NS, Pair, Truth
from tests.truth.kernel import Call, Traced, Tracing
from tests.truth.packets import Capture, last_bytes

LOG = "log.txt"
LIMIT_S = 60.0
HOG = "while True: pass"
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
expect.writes = [{ file = "log.txt", text = "${mark}\\n" }]
"""
AFTER_TASKS = 'after = "tasks"\n'


@dataclass(frozen=True, slots=True)
class Asked:
    """A path of `tests.truth.app`, query included. ``after_tasks``: of the requests before it."""

    path: str
    after_tasks: bool = False

    def __str__(self) -> str:
        """As a part of a script; it is named after the route."""
        route = self.path.partition("?")[0].strip("/")
        if self.after_tasks:
            return REQUEST % (f"{route}, after tasks", self.path) + AFTER_TASKS
        return REQUEST % (route, self.path)


@dataclass(frozen=True, slots=True)
class Bare:
    """What the least that can be done costs, in ns later than it was so: a client's response, a write seen."""

    response: list[int]
    write: list[int]


@dataclass(frozen=True, slots=True)
class Bench:
    """A server of `tests.truth.app` at ``url``, in ``folder``, under ``tracing``."""

    tracing: Tracing
    folder: Path
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def fire(self, asked: Sequence[Asked], repeat: int, concurrency: int = 1) -> list[Pair]:
        """Let fastbg send them so often; what it said of each, beside what was so."""
        most = MAX_KEPT // len(asked)  # in one run: so many traces are kept
        parts = [most] * (repeat // most) + [repeat % most] * (repeat % most > 0)
        return [pair for part in parts for pair in self._fire(asked, part, min(concurrency, part))]

    def _fire(self, asked: Sequence[Asked], repeat: int, concurrency: int) -> list[Pair]:
        text = HEAD % self.url + "".join(map(str, asked))
        source = read_script(text, "truth.toml", self.folder, {})
        base = ServerSettings("", directory=self.folder)
        options = RunOptions(self.folder, LIMIT_S, base, os.environ, repeat=repeat, concurrency=concurrency)
        self.tracing.clear()
        with Capture(self.port) as capture:
            results = asyncio.run(Runner(source, options, None).run()).requests
            left = last_bytes(capture.packets(), self.port)
        traced = self.tracing.read()
        return [(said, truth_of(said, left, traced)) for said in results]

    def bare(self, asked: Asked, count: int, concurrency: int = 1, work_s: float = 0) -> Bare:
        """So many requests by nothing but httpx, and the log under the eyes of a process that does nothing else.

        ``work_s``: how long the tasks take; several workers wait for them after every second request.
        """
        self.tracing.clear()
        log = self.folder / LOG
        begin = log.stat().st_size
        with _watching(log) as watcher, Capture(self.port) as capture:
            complete = asyncio.run(_ask(self.url, asked, count, concurrency, work_s))
            traced = self._read_when_written(complete)
            left = last_bytes(capture.packets(), self.port)
            told, _ = watcher.communicate(b"\n")
        sightings = [(int(t_ns), int(size)) for t_ns, size in (line.split() for line in told.splitlines())]
        seen, end = {}, begin
        for line in log.read_bytes()[begin:].splitlines(keepends=True):
            end += len(line)
            seen[line.decode().strip()] = next(t_ns for t_ns, size in sightings if size >= end)
        return Bare(
            [t_ns - left[request_id] for request_id, t_ns in complete.items()],
            [seen[request_id] - traced.writes[request_id].end_ns for request_id in complete],
        )

    def _read_when_written(self, request_ids: Iterable[str]) -> Traced:
        """The trace, as soon as it has the writes of all these requests."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            traced = self.tracing.read()
            if traced.writes.keys() >= set(request_ids):
                return traced
            time.sleep(0.1)
        raise RuntimeError(f"the tasks did not write within {LIMIT_S:g} s")


@contextmanager
def bench() -> Iterator[Bench]:
    """A server for `Bench`. Raises `UnavailableError` where the kernel does not tell us what it does."""
    with ExitStack() as stack:
        tracing = stack.enter_context(Tracing())
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastbg-truth-"))
        variables = {"PYTHONPATH": str(ROOT), "TRUTH_MARKER": str(tracing.marker)}
        url = stack.enter_context(fastbg_serve("tests.truth.app:app", "--dir", name, cwd=Path(name), **variables))
        yield Bench(tracing, Path(name), url)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Meanwhile so many processes use a core each."""
    with ExitStack() as stack:
        for _ in range(count):
            hog = stack.enter_context(subprocess.Popen([sys.executable, "-c", HOG]))
            stack.callback(hog.kill)
        yield


def truth_of(said: RequestResult, left: dict[str, int], traced: Traced) -> Truth:
    """What was so of that request. The server's calls are those of its main thread, which has the process's number."""
    request_id = said.trace.request_id
    pid = next(event.detail["pid"] for event in said.trace.events if event.source == "server")
    send = _last_begun(traced.sends[pid], left[request_id] + MARGIN_NS)
    return Truth(send, left[request_id], traced.started_ns.get(request_id), traced.writes[request_id])


def _last_begun(calls: Sequence[Call], t_ns: int) -> Call:
    return calls[bisect_right(calls, t_ns, key=lambda call: call.begin_ns) - 1]


async def _ask(url: str, asked: Asked, count: int, concurrency: int, work_s: float) -> dict[str, int]:
    """By request id: when the client had the whole response."""
    complete: dict[str, int] = {}
    numbers = iter(range(count))

    async def work() -> None:
        for turn, number in enumerate(numbers):  # the numbers are shared by all
            request_id = f"bare-{time.monotonic_ns()}-{number}"
            response = await client.post(asked.path, headers={"X-Request-ID": request_id})
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
