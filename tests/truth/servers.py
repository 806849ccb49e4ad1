"""The servers that `tests.truth` compares, each with the app of `tests.truth.app` and the recorder."""

import importlib.util
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from fastbg.server.address import Address
from tests.support import forks
from tests.support.processes import FASTBG
from tests.support.servers import ROOT, free_port, running, wait_until_it_listens

APP = "tests.truth.app:recorded"


@dataclass(frozen=True, slots=True)
class Server:
    """A server. ``command``: arguments of Python. ``needs``: the modules that are not part of the installation.

    "{port}", "{key}" and "{certificate}" in the arguments are replaced.
    """

    name: str
    command: Sequence[str]
    needs: Sequence[str] = ()
    is_uvicorn: bool = True

    @property
    def tls(self) -> bool:
        return any("{key}" in argument for argument in self.command)

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def _uvicorn(http: str, loop: str, *more: str) -> Server:
    command = ("-m", "uvicorn", "--factory", APP, "--http", http, "--loop", loop, "--port", "{port}", *more)
    needs = [name for name in (http, loop) if name in ("httptools", "uvloop")]
    return Server(f"uvicorn, {http}, {loop}" + (", TLS" if more else ""), command, needs)


TLS = ("--ssl-keyfile", "{key}", "--ssl-certfile", "{certificate}")
SERVERS = (
    _uvicorn("h11", "asyncio"),
    _uvicorn("httptools", "asyncio"),
    _uvicorn("h11", "uvloop"),
    _uvicorn("httptools", "uvloop"),
    _uvicorn("h11", "asyncio", *TLS),
    _uvicorn("httptools", "uvloop", *TLS),
    Server(
        "fastbg serve --workers 2",
        (*FASTBG[1:], "serve", "tests.truth.app:app", "--dir", ".", "--port", "{port}", "--workers", "2"),
    ),
    Server(
        "hypercorn",
        ("-m", "hypercorn", "tests.truth.app:recorded()", "--bind", "127.0.0.1:{port}"),
        ("hypercorn",),
        is_uvicorn=False,
    ),
    Server(
        "gunicorn -k asgi",
        ("-m", "gunicorn", "-k", "asgi", "-b", "127.0.0.1:{port}", "tests.truth.app:recorded()"),
        ("gunicorn",),
        is_uvicorn=False,
    ),
    Server(
        "granian",
        ("-m", "granian", "--interface", "asgi", "--factory", APP, "--port", "{port}"),
        ("granian",),
        is_uvicorn=False,
    ),
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server at ``url`` that writes to ``folder``. ``authority``: the file with its certificate authority."""

    server: Server
    url: str
    folder: Path
    authority: Path

    @property
    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.authority) if self.server.tls else None


@contextmanager
def serve(server: Server, folder: Path, marker: Path) -> Iterator[RunningServer]:
    """Start ``server`` in ``folder``. ``marker``: `tests.truth.kernel.Tracing.marker`."""
    authority, key, certificate = (folder / name for name in ("ca.pem", "key.pem", "certificate.pem"))
    if server.tls:
        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(authority)
        issued = issuer.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
    port = free_port()
    arguments = [each.format(port=port, key=key, certificate=certificate) for each in server.command]
    variables = {"PYTHONPATH": str(ROOT), "TRUTH_MARKER": str(marker)}
    # The kernel traces the processes that this one starts from now on.
    with forks.not_used(), running([sys.executable, *arguments], folder, variables) as url:
        # For a worker: the parent process prints the URL before that.
        wait_until_it_listens(Address(f"http://127.0.0.1:{port}"))
        yield RunningServer(server, url.replace("0.0.0.0", "127.0.0.1"), folder, authority)
