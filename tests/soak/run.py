"""Runs the server under load, with ``fastbg tail`` and ``fastbg demo`` in parallel."""
# ruff: noqa: ASYNC240  (local files are read quickly)

import asyncio
import json
import os
import re
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from fastbg.recorder.rotation import numbers
from tests.soak.growth import Growth, children
from tests.soak.ledger import FILES, Ledger, requests
from tests.support.processes import FASTBG, PATIENCE_S, environment
from tests.support.servers import NO_TLS, URL

SAMPLE_S = 1.0
WORK = "0.01"
MAX_PARALLEL = 50
LINE = 2**20  # maximum bytes per line of tail


@dataclass(slots=True)
class SoakResult:
    """The result of a soak test. ``folder``: the data folder. ``faults``: descriptions of all faults."""

    folder: Path
    ledger: Ledger = field(default_factory=Ledger)
    growth: Growth = field(default_factory=Growth)
    demos: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    history: dict[str, int] = field(default_factory=dict)

    @property
    def rotations(self) -> int:
        return max(numbers(self.folder / "journal.jsonl"), default=0)


async def soak(
    result: SoakResult,
    *,
    rate: float,
    workers: int,
    journal_mib: float,
    enough: Callable[[], bool],
    stop: asyncio.Event,
    serving: Sequence[str] = FASTBG,
) -> None:
    """Run until ``enough`` returns true or ``stop`` is set, then check everything and fill ``result``.

    ``rate``: requests per second. ``journal_mib``: size at which the journal is rotated. ``serving``: the fastbg
    command for the server.
    """
    begin = time.monotonic()
    options = ("--dir", str(result.folder))
    async with _running("tail", "--journal", "--json", "-n", "0", *options, stdout=PIPE) as tail:
        await _wait_for_tail(tail)
        reading = asyncio.create_task(_read(tail, result.ledger))
        log = result.folder.with_suffix(".server")
        serve = ("--port", "0", "--work", WORK, "--workers", str(workers), "--journal-size", str(journal_mib))
        with log.open("wb") as output:
            async with _running("serve", *serve, *options, stdout=output.fileno(), fastbg=serving) as server:
                url = await _url(log)
                parts = [
                    asyncio.create_task(_load(url, rate, result.ledger, stop)),
                    asyncio.create_task(_demos(url, result, lambda: stop.is_set() or enough())),
                    asyncio.create_task(_sample_processes(result, server, tail, stop)),
                ]
                try:
                    await _until(lambda: enough() or any(part.done() for part in parts), stop)
                finally:
                    stop.set()
                    await asyncio.gather(*parts)
                await _wait_until_none(result.ledger, result.ledger.missing)
                server.send_signal(signal.SIGINT)
                if code := await server.wait():
                    result.faults.append(f"the server ended with {code}")
        await _wait_until_none(result.ledger, lambda: result.ledger.differing_files(result.folder))
        tail.send_signal(signal.SIGINT)
        if (code := await tail.wait()) != 128 + signal.SIGINT:
            result.faults.append(f"tail ended with {code}")
        await reading
    result.seconds = time.monotonic() - begin
    result.faults += result.ledger.faults + result.ledger.missing() + result.ledger.compare(result.folder)
    await _report(result)


@asynccontextmanager
async def _running(*arguments: str, stdout: int, fastbg: Sequence[str] = FASTBG) -> AsyncIterator[Process]:
    """Run fastbg, and kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *fastbg,
        *arguments,
        stdin=DEVNULL,
        stdout=stdout,
        stderr=None if stdout == PIPE else STDOUT,
        env=environment(),
        limit=LINE,
        start_new_session=True,  # Ctrl-C must reach only this process
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _wait_for_tail(tail: Process) -> None:
    """Wait until ``tail`` has reported each file as missing. From then on it misses nothing."""
    assert tail.stdout is not None
    missing: set[str] = set()
    while len(missing) < len(FILES) + 1:  # and the journal
        line = json.loads(await tail.stdout.readline())
        missing |= {line["file"]} if line.get("kind") == "missing" else set()


async def _read(tail: Process, ledger: Ledger) -> None:
    assert tail.stdout is not None
    async for line in tail.stdout:
        ledger.add_line(json.loads(line))


async def _url(log: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while (found := re.search(URL, log.read_bytes())) is None:
        if time.monotonic() > end:
            raise TimeoutError(log.read_text(encoding="utf-8"))
        await asyncio.sleep(0.02)
    return found[1].decode()


async def _load(url: str, rate: float, ledger: Ledger, stop: asyncio.Event) -> None:
    """Send requests at ``rate``, at most `MAX_PARALLEL` at a time.

    Each uses a new connection: the server may close a kept one at the moment when it is used again.
    """
    slots = asyncio.Semaphore(MAX_PARALLEL)
    async with (
        httpx.AsyncClient(
            base_url=url,
            verify=NO_TLS,
            trust_env=False,
            timeout=PATIENCE_S,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
        asyncio.TaskGroup() as group,
    ):

        async def send(path: str, query: dict[str, str], request_id: str) -> None:
            async with slots:
                try:
                    response = await client.post(path, params=query, headers={"X-Fastbg-Request-ID": request_id})
                except httpx.HTTPError as error:
                    ledger.faults.append(f"{request_id}: {error!r}")
                else:
                    ledger.answered += 1
                    if response.status_code != 200:
                        ledger.faults.append(f"{request_id}: status {response.status_code}")

        due = time.monotonic()
        for request in requests():
            if await _until(lambda: time.monotonic() >= due and not slots.locked(), stop):  # noqa: B023  # called before the next iteration
                return
            due = max(due, time.monotonic() - 1) + 1 / rate
            ledger.send(request)
            group.create_task(send(request.path, request.query, request.request_id))


async def _demos(url: str, result: SoakResult, over: Callable[[], bool]) -> None:
    """Run demos in sequence, alternating between the server under load and a new server."""
    while not over():
        target = () if len(result.demos) % 2 else ("--url", url)
        async with _running(
            *("demo", "--json", "--dir", str(result.folder), "--work", "0.05", "--timeout", str(PATIENCE_S), *target),
            stdout=PIPE,
        ) as demo:
            written, _ = await demo.communicate()
        result.demos.append(demo.returncode or 0)
        if demo.returncode != 0:
            result.faults.append(f"demo ended with {demo.returncode}: {written.decode()[-2000:]}")
        for request in json.loads(written or "{}").get("requests", ()):
            for write in request["writes"]:
                result.ledger.expected[Path(write["file"]).name].append(write["text"])


async def _sample_processes(result: SoakResult, server: Process, tail: Process, stop: asyncio.Event) -> None:
    while not stop.is_set():
        workers = children(server.pid)
        names = {f"child {number}": pid for number, pid in enumerate(workers, 1)}
        result.growth.add_samples({"serve": server.pid, **names, "tail": tail.pid})
        await _until(lambda: False, stop, SAMPLE_S)


async def _until(happened: Callable[[], bool], stop: asyncio.Event, seconds: float = float("inf")) -> bool:
    """Wait until ``happened`` returns true, at most ``seconds``. Return whether ``stop`` was set."""
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        try:
            await asyncio.wait_for(stop.wait(), 0.005 if seconds == float("inf") else seconds)
        except TimeoutError:
            continue
        return True
    return stop.is_set()


async def _wait_until_none(ledger: Ledger, missing: Callable[[], Sequence[str]]) -> None:
    """Wait until ``missing`` returns nothing, as long as tail still writes lines."""
    lines, changed_at = ledger.lines, time.monotonic()
    while missing() and time.monotonic() < changed_at + PATIENCE_S:
        await asyncio.sleep(0.05)
        if ledger.lines != lines:
            lines, changed_at = ledger.lines, time.monotonic()


async def _report(result: SoakResult) -> None:
    """Run ``fastbg report`` on the remaining parts of the journal. It must not find lost requests."""
    journal = result.folder / "journal.jsonl"
    async with _running("report", "--json", str(journal), "--last", "0", stdout=PIPE) as report:
        written, _ = await report.communicate()
    document = json.loads(written)
    result.history = document["summary"] | {key: document[key] for key in ("skipped_parts", "foreign_lines")}
    bad = ("failed", "dropped", "lost", "unfinished", "foreign_lines")
    result.faults += [f"the journal has {result.history[key]} {key}" for key in bad if result.history[key]]
