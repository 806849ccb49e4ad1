"""``fastbg serve``: serves the example app or the user's app until a signal is received."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from ipaddress import ip_address

from fastbg.commands.greeting import BrokerInfo, greeting
from fastbg.errors import INTERRUPTED, STARTUP_FAILURE, ServerError
from fastbg.server.app import FACTORY
from fastbg.server.importer import full_name, load
from fastbg.server.listener import bind, url_of
from fastbg.server.settings import ServerSettings
from fastbg.server.supervisors import run, run_reloader, run_workers
from fastbg.text import escape_control


def serve(
    settings: ServerSettings, *, host: str, port: int, reload: bool, workers: int, queued: bool, broker: str | None
) -> int:
    """Serve until a signal is received, then let the running tasks finish. Returns 0, or 130 after a second Ctrl-C.

    ``queued``: send the tasks to a queue. ``broker``: addresses of its broker; None starts an embedded one. Raises
    `FastbgError` if the server cannot start.
    """
    with _broker(settings, broker) if queued else nullcontext() as info:
        return _serve(settings, host, port, reload, workers, info)


@contextmanager
def _broker(settings: ServerSettings, addresses: str | None) -> Iterator[BrokerInfo]:
    from fastbg.services.broker import use_broker, without_password

    with use_broker(settings.directory, addresses) as broker:
        if isinstance(broker, str):
            yield BrokerInfo(without_password(broker))
        else:
            yield BrokerInfo(broker.address, folder=broker.folder)


def _serve(
    settings: ServerSettings, host: str, port: int, reload: bool, workers: int, broker: BrokerInfo | None
) -> int:
    from uvicorn import Config

    from fastbg.server.logs import log_config
    from fastbg.server.uvicorn_versions import UvicornServer

    os.environ |= settings.environment()
    settings.make_folder()
    app = load(settings.app, settings.app_dir)
    listener = bind(host, port)
    greet(replace(settings, app=full_name(settings.app, settings.app_dir)), app, listener, broker)
    config = Config(
        FACTORY,
        factory=True,
        reload=reload,
        reload_dirs=[str(settings.app_dir)] if reload else None,
        workers=1 if reload else workers,
        log_config=log_config(),
    )
    codes: list[int | None]
    if reload:
        codes = run_reloader(config, listener)
    elif workers > 1:
        codes = run_workers(config, listener)
    else:
        codes = [run(UvicornServer(config), listener)]
    if STARTUP_FAILURE in codes:
        raise ServerError(
            "the app did not start up", where=settings.app, remedy="fix the error in the server's log above"
        )
    return INTERRUPTED if INTERRUPTED in codes else 0


def greet(settings: ServerSettings, app: object, listener: socket.socket, broker: BrokerInfo | None) -> None:
    """Print the greeting, and a warning if other machines can reach the server."""
    lines = greeting(settings, app, url_of(listener), broker)
    sys.stdout.write("".join(escape_control(line) + "\n" for line in lines))
    sys.stdout.flush()
    host = listener.getsockname()[0]
    if not ip_address(host.partition("%")[0]).is_loopback:
        sys.stderr.write(f"fastbg: other machines can reach this server: it listens on {host}, not on 127.0.0.1\n")
