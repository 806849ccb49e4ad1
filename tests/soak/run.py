"""The server under load, with ``fastbg tail`` and ``fastbg demo`` beside it, until it is enough."""
# ruff: noqa: ASYNC240  (a local file is read in no time)

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
MAX_AT_ONCE = 50
LINE = 2**20  # bytes that a line of tail may have


@dataclass(slots=True)
class Soak:
    """What was measured. ``folder``: the data folder. ``faults``: what is wrong; empty if nothing is."""

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
    told: Soak,
    *,
    rate: float,
    workers: int,
    journal_mib: float,
    enough: Callable[[], bool],
    stop: asyncio.Event,
    serving: Sequence[str] = FASTBG,
) -> None:
    """Run until ``enough`` says so or ``stop`` is set, then account for everything in ``told``.

    ``rate``: requests a second. ``journal_mib``: size of the journal at which it is rotated. ``serving``: the fastbg
    that serves.
    """
    begin = time.monotonic()
    options = ("--dir", str(told.folder))
    async with _running("tail", "--journal", "--json", "-n", "0", *options, stdout=PIPE) as tail:
        await _following(tail)
        reading = asyncio.create_task(_read(tail, told.ledger))
        log = told.folder.with_suffix(".server")
        serve = ("--port", "0", "--work", WORK, "--workers", str(workers), "--journal-size", str(journal_mib))
        with log.open("wb") as output:
            async with _running("serve", *serve, *options, stdout=output.fileno(), fastbg=serving) as server:
                url = await _url(log)
                parts = [
                    asyncio.create_task(_load(url, rate, told.ledger, stop)),
                    asyncio.create_task(_demos(url, told, lambda: stop.is_set() or enough())),
                    asyncio.create_task(_look(told, server, tail, stop)),
                ]
                try:
                    await _until(lambda: enough() or any(part.done() for part in parts), stop)
                finally:
                    stop.set()
                    await asyncio.gather(*parts)
                await _settled(told.ledger, told.ledger.missing)
                server.send_signal(signal.SIGINT)
                if code := await server.wait():
                    told.faults.append(f"the server ended with {code}")
        await _settled(told.ledger, lambda: told.ledger.unlike(told.folder))
        tail.send_signal(signal.SIGINT)
        if (code := await tail.wait()) != 128 + signal.SIGINT:
            told.faults.append(f"tail ended with {code}")
        await reading
    told.seconds = time.monotonic() - begin
    told.faults += told.ledger.faults + told.ledger.missing() + told.ledger.compare(told.folder)
    await _report(told)


@asynccontextmanager
async def _running(*arguments: str, stdout: int, fastbg: Sequence[str] = FASTBG) -> AsyncIterator[Process]:
    """fastbg with these arguments; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *fastbg,
        *arguments,
        stdin=DEVNULL,
        stdout=stdout,
        stderr=None if stdout == PIPE else STDOUT,
        env=environment(),
        limit=LINE,
        start_new_session=True,  # Ctrl-C is for who runs the soak
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _following(tail: Process) -> None:
    """Wait until ``tail`` has said of each file that it is not there yet: from then on it misses nothing."""
    assert tail.stdout is not None
    missing: set[str] = set()
    while len(missing) < len(FILES) + 1:  # and the journal
        line = json.loads(await tail.stdout.readline())
        missing |= {line["file"]} if line.get("kind") == "missing" else set()


async def _read(tail: Process, ledger: Ledger) -> None:
    assert tail.stdout is not None
    async for line in tail.stdout:
        ledger.tell(json.loads(line))


async def _url(log: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while (found := re.search(URL, log.read_bytes())) is None:
        if time.monotonic() > end:
            raise TimeoutError(log.read_text(encoding="utf-8"))
        await asyncio.sleep(0.02)
    return found[1].decode()


async def _load(url: str, rate: float, ledger: Ledger, stop: asyncio.Event) -> None:
    """Send requests at ``rate``, at most `MAX_AT_ONCE` of them unanswered.

    Each has a connection of its own: one that is kept may be closed by the server at the moment when it is used again.
    """
    slots = asyncio.Semaphore(MAX_AT_ONCE)
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
                    response = await client.post(path, params=query, headers={"X-Request-ID": request_id})
                except httpx.HTTPError as error:
                    ledger.faults.append(f"{request_id}: {error!r}")
                else:
                    ledger.answered += 1
                    if response.status_code != 200:
                        ledger.faults.append(f"{request_id}: status {response.status_code}")

        due = time.monotonic()
        for request in requests():
            if await _until(lambda: time.monotonic() >= due and not slots.locked(), stop):  # noqa: B023  # asked at once
                return
            due = max(due, time.monotonic() - 1) + 1 / rate
            ledger.send(request)
            group.create_task(send(request.path, request.query, request.request_id))


async def _demos(url: str, told: Soak, over: Callable[[], bool]) -> None:
    """Demos one after the other: of the server under load, then of one of its own."""
    while not over():
        target = () if len(told.demos) % 2 else ("--url", url)
        async with _running(
            *("demo", "--json", "--dir", str(told.folder), "--work", "0.05", "--timeout", str(PATIENCE_S), *target),
            stdout=PIPE,
        ) as demo:
            written, _ = await demo.communicate()
        told.demos.append(demo.returncode or 0)
        if demo.returncode != 0:
            told.faults.append(f"demo ended with {demo.returncode}: {written.decode()[-2000:]}")
        for request in json.loads(written or "{}").get("requests", ()):
            for write in request["writes"]:
                told.ledger.expected[Path(write["file"]).name].append(write["text"])


async def _look(told: Soak, server: Process, tail: Process, stop: asyncio.Event) -> None:
    while not stop.is_set():
        workers = children(server.pid)
        names = {f"child {number}": pid for number, pid in enumerate(workers, 1)}
        told.growth.look({"serve": server.pid, **names, "tail": tail.pid})
        await _until(lambda: False, stop, SAMPLE_S)


async def _until(happened: Callable[[], bool], stop: asyncio.Event, seconds: float = float("inf")) -> bool:
    """Wait until something happened, for so many seconds at most; whether ``stop`` was set instead."""
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        try:
            await asyncio.wait_for(stop.wait(), 0.005 if seconds == float("inf") else seconds)
        except TimeoutError:
            continue
        return True
    return stop.is_set()


async def _settled(ledger: Ledger, lacks: Callable[[], Sequence[str]]) -> None:
    """Wait until nothing lacks any more, as long as tail shows anything."""
    told, heard = ledger.lines, time.monotonic()
    while lacks() and time.monotonic() < heard + PATIENCE_S:
        await asyncio.sleep(0.05)
        if ledger.lines != told:
            told, heard = ledger.lines, time.monotonic()


async def _report(told: Soak) -> None:
    """What ``fastbg report`` makes of the parts that are left: nothing may seem lost in them."""
    journal = told.folder / "journal.jsonl"
    async with _running("report", "--json", str(journal), "--last", "0", stdout=PIPE) as report:
        written, _ = await report.communicate()
    document = json.loads(written)
    told.history = document["summary"] | {key: document[key] for key in ("skipped_parts", "foreign_lines")}
    bad = ("failed", "dropped", "lost", "unfinished", "foreign_lines")
    told.faults += [f"the journal has {told.history[key]} {key}" for key in bad if told.history[key]]
