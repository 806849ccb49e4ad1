"""Starts the queued example (broker, app, Taskiq workers), queries the broker, and blocks appends to files."""

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

# Long enough for a slow machine: no test gets status 503 or a redelivered task by accident.
LONG_TIMEOUTS = {"FASTBG_BROKER_CONFIRM": f"{PATIENCE_S / 2:g}", "FASTBG_BROKER_ACK_WAIT": f"{PATIENCE_S / 2:g}"}


@contextmanager
def taskiq_worker(cwd: Path, *arguments: str, log: str = "worker.log", **variables: str) -> Iterator[int]:
    """Start a Taskiq worker for the example and wait until it is ready. Yield the process id of its manager."""
    command = [sys.executable, "-m", "taskiq", "worker", f"{QUEUED}:broker", "--workers", "1", *arguments]
    with (cwd / log).open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(PYTHONPATH=str(ROOT), **(LONG_TIMEOUTS | variables)),
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
    """Send SIGKILL to a session leader and its process group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def serve_queued_example(cwd: Path, **variables: str) -> Iterator[tuple[str, Broker]]:
    """Serve the queued example with plain uvicorn and the data folder ``data``. Yield the URL and the broker."""
    reserve_port(cwd / "data")
    with Broker(cwd / "data") as broker:
        settings = {"FASTBG_DIR": str(cwd / "data"), "FASTBG_WORK": "0", "FASTBG_BROKER": broker.address}
        with uvicorn(f"{QUEUED}:app", cwd=cwd, **(settings | LONG_TIMEOUTS | variables)) as url:
            yield url, broker


def free_ports(number: int) -> list[int]:
    """Return free ports below the ephemeral range, so that no connection takes one between two starts."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < number:
            port = random.randrange(min(10_000, first_ephemeral // 2), first_ephemeral)
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def reserve_port(directory: Path) -> None:
    """Write a port for the broker of a data folder that stays free for a restart."""
    path = address_file(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"nats://127.0.0.1:{free_ports(1)[0]}\n", encoding="ascii")


def query_broker(addresses: str, query: Callable[[JetStreamContext], Awaitable[Any]], **options: Any) -> Any:
    """Run ``query`` against the broker at ``addresses``. ``options``: as for `nats.connect`."""

    async def run_query() -> Any:
        client = await nats.connect(addresses.split(","), connect_timeout=PATIENCE_S, **options)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await query(client.jetstream(timeout=PATIENCE_S))
        finally:
            await client.close()

    return asyncio.run(run_query())


async def message_count(js: JetStreamContext) -> int:
    """Return the number of tasks in the broker. It removes finished tasks."""
    return int((await js.stream_info("fastbg")).state.messages)


@contextmanager
def hold_appends(file: Path) -> Iterator[None]:
    """Block every `append_once` to ``file``, in any process, until the context ends."""
    with file.with_name(file.name + ".keys").open("ab") as keys:
        fcntl.flock(keys, fcntl.LOCK_EX)
        yield
