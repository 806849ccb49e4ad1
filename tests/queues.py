"""Starts the queued example: a broker of our own, the app, and Taskiq's workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastbg.broker import Broker
from tests.processes import environment, wait_for
from tests.servers import ROOT, uvicorn

QUEUED = "fastbg.example.queued"


@contextmanager
def taskiq_worker(cwd: Path, *arguments: str, log: str = "worker.log", **variables: str) -> Iterator[int]:
    """Taskiq's own worker on the example's tasks, ready for them: the process id of its manager."""
    command = [sys.executable, "-m", "taskiq", "worker", f"{QUEUED}:broker", "--workers", "1", *arguments]
    with (cwd / log).open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(PYTHONPATH=str(ROOT), **variables),
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
    with Broker(cwd / "data") as broker:
        settings = {"FASTBG_DIR": str(cwd / "data"), "FASTBG_WORK": "0", "FASTBG_BROKER": broker.address} | variables
        with uvicorn(f"{QUEUED}:app", cwd=cwd, **settings) as url:
            yield url, broker
