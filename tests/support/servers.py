"""Starts servers as child processes on free ports, and always stops them."""

import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fastbg.server.address import Address
from tests.support.processes import FASTBG, PATIENCE_S, environment, wait_for

ROOT = Path(__file__).parent.parent.parent
URL = rb"(https?://[\d.]+:\d+)\s"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # otherwise httpx loads all certificates for each request: 50 ms


def fetch(method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request on a new connection. ``options``: as for `httpx.request`."""
    return httpx.request(method, url, verify=NO_TLS, trust_env=False, timeout=PATIENCE_S, **options)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_it_listens(address: Address, check: Callable[[], object] = lambda: None) -> None:
    """Wait until a server accepts connections. ``check``: called before each new attempt, to raise if it has ended."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            address.connect(PATIENCE_S).close()
        except OSError:
            check()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


@contextmanager
def uvicorn(app: str, cwd: Path, **variables: str) -> Iterator[str]:
    """Serve ``app`` with plain uvicorn in the folder ``cwd``. Yield the URL. ``variables``: of the environment."""
    with running(
        [sys.executable, "-m", "uvicorn", app, "--port", "0"], cwd, {"PYTHONPATH": str(ROOT)} | variables
    ) as url:
        yield url


@contextmanager
def fastbg_serve(*arguments: str, cwd: Path, **variables: str) -> Iterator[str]:
    """Run ``fastbg serve`` in the folder ``cwd``. Yield the URL."""
    with running([*FASTBG, "serve", "--port", "0", *arguments], cwd, variables) as url:
        yield url


@contextmanager
def running(command: list[str], cwd: Path, variables: dict[str, str]) -> Iterator[str]:
    """Run a server that prints its URL. Yield the URL."""
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
