"""Starts servers as child processes on free ports, and always ends them."""

import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import FASTBG, PATIENCE_S, environment, wait_for

ROOT = Path(__file__).parent.parent.parent
URL = rb"(http://[\d.]+:\d+)\s"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would load all certificates each time: 50 ms


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """What a server answers to one request on a connection of its own; ``options`` as of `httpx.request`."""
    return httpx.request(method, url, verify=NO_TLS, trust_env=False, timeout=PATIENCE_S, **options)


@contextmanager
def uvicorn(app: str, cwd: Path, **variables: str) -> Iterator[str]:
    """The URL of ``app`` under plain uvicorn, in the folder ``cwd``, with ``variables`` in its environment."""
    with _running(
        [sys.executable, "-m", "uvicorn", app, "--port", "0"], cwd, {"PYTHONPATH": str(ROOT)} | variables
    ) as url:
        yield url


@contextmanager
def served(*arguments: str, cwd: Path, **variables: str) -> Iterator[str]:
    """The URL of ``fastbg serve`` with these arguments, in the folder ``cwd``."""
    with _running([*FASTBG, "serve", "--port", "0", *arguments], cwd, variables) as url:
        yield url


@contextmanager
def _running(command: list[str], cwd: Path, variables: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"  # a pipe would fill up and stop the server
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=cwd, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT
            )
        try:
            found = re.search(URL, wait_for(log, URL))
            assert found is not None
            yield found[1].decode()
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)
