"""Starts the queued example: a broker of our own, the app, and Taskiq's workers. Asks the broker, and holds appends."""

import asyncio
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext

from fastbg.services.broker import Broker, address_file
from tests.support.processes import PATIENCE_S, environment, wait_for
from tests.support.servers import ROOT, uvicorn

QUEUED = "fastbg.example.queued"

# No broker and no worker is too slow for this: an answer is 503, or a task delivered again, only where a test wants it.
PATIENT = {"FASTBG_BROKER_CONFIRM": f"{PATIENCE_S / 2:g}", "FASTBG_BROKER_ACK_WAIT": f"{PATIENCE_S / 2:g}"}


@contextmanager
def taskiq_worker(cwd: Path, *arguments: str, log: str = "worker.log", **variables: str) -> Iterator[int]:
    """Taskiq's own worker on the example's tasks, ready for them: the process id of its manager."""
    command = [sys.executable, "-m", "taskiq", "worker", f"{QUEUED}:broker", "--workers", "1", *arguments]
    with (cwd / log).open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(PYTHONPATH=str(ROOT), **(PATIENT | variables)),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(cwd / log, b"Listening started")
        yield process.pid
    finally:
        kill_group(process.pid)
        process.wait()


def kill_group(pid: int) -> None:
    """SIGKILL for a process that leads a session, and for all of its children."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def queued(cwd: Path, **variables: str) -> Iterator[tuple[str, Broker]]:
    """The URL of the queued example under plain uvicorn, and its broker; its data folder is ``data``."""
    keep_port(cwd / "data")
    with Broker(cwd / "data") as broker:
        settings = {"FASTBG_DIR": str(cwd / "data"), "FASTBG_WORK": "0", "FASTBG_BROKER": broker.address}
        with uvicorn(f"{QUEUED}:app", cwd=cwd, **(settings | PATIENT | variables)) as url:
            yield url, broker


def free_ports(number: int) -> list[int]:
    """Ports below those that the kernel gives away: no connection takes one before, or between, two starts."""
    first_given_away = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < number:
            port = random.randrange(min(10_000, first_given_away // 2), first_given_away)
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def keep_port(directory: Path) -> None:
    """Let the broker of a data folder have a port that is still free when it is started again."""
    path = address_file(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"nats://127.0.0.1:{free_ports(1)[0]}\n", encoding="ascii")


def asked(addresses: str, question: Callable[[JetStreamContext], Awaitable[Any]], **options: Any) -> Any:
    """What the broker at ``addresses`` says. ``options``: as of `nats.connect`."""

    async def ask_it() -> Any:
        client = await nats.connect(addresses.split(","), connect_timeout=PATIENCE_S, **options)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await question(client.jetstream(timeout=PATIENCE_S))
        finally:
            await client.close()

    return asyncio.run(ask_it())


async def messages(js: JetStreamContext) -> int:
    """How many tasks the broker has: those that are done are taken away."""
    return int((await js.stream_info("fastbg")).state.messages)


@contextmanager
def appends_held(file: Path) -> Iterator[None]:
    """Every `append_once` to ``file``, of any process, waits until the block ends."""
    with file.with_name(file.name + ".keys").open("ab") as notes:
        fcntl.flock(notes, fcntl.LOCK_EX)
        yield
