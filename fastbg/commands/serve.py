"""``fastbg serve``: serves the example app or the user's app until a signal is received."""

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from fastbg.commands.greeting import BrokerInfo, greeting
from fastbg.errors import INTERRUPTED, STARTUP_FAILURE, ServerError
from fastbg.server.address import Address
from fastbg.server.app import FACTORY
from fastbg.server.importer import full_name, load
from fastbg.server.listener import listening
from fastbg.server.settings import ServerSettings
from fastbg.server.supervisors import run, run_reloader, run_workers
from fastbg.server.uvicorn_options import parse, prepare, words_of
from fastbg.text import escape_control


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of one call. ``uvicorn``: options of uvicorn by name. ``words``: more of them, as uvicorn takes them.

    ``queued``: send the tasks to a queue. ``broker``: addresses of its broker; None starts an embedded one.
    """

    host: str
    port: int
    reload: bool
    workers: int
    queued: bool
    broker: str | None
    uvicorn: Mapping[str, Any]
    words: Sequence[str]


def serve(settings: ServerSettings, options: ServeOptions) -> int:
    """Serve until a signal is received, then let the running tasks finish. Returns 0, or 130 after a second Ctrl-C.

    Raises `FastbgError` if the server cannot start.
    """
    given = {name: value for name, value in options.uvicorn.items() if value is not None}
    arguments = parse([*words_of(given), *options.words])
    settings = replace(settings, factory=arguments.get("factory", False))
    with _broker(settings, options.broker) if options.queued else nullcontext() as info:
        return _serve(settings, options, arguments, info)


@contextmanager
def _broker(settings: ServerSettings, addresses: str | None) -> Iterator[BrokerInfo]:
    from fastbg.services.broker import use_broker, without_password

    with use_broker(settings.directory, addresses) as broker:
        if isinstance(broker, str):
            yield BrokerInfo(without_password(broker))
        else:
            yield BrokerInfo(broker.address, folder=broker.folder)


def _serve(
    settings: ServerSettings, options: ServeOptions, arguments: Mapping[str, Any], broker: BrokerInfo | None
) -> int:
    """Serve with the ``arguments`` of `uvicorn.Config`."""
    from uvicorn import Config

    from fastbg.server.logs import log_config
    from fastbg.server.uvicorn_versions import HEALTHCHECK, UvicornServer

    prepared = prepare(arguments)
    os.environ |= settings.environment()
    settings.make_folder()
    app = load(settings.app, settings.app_dir, factory=settings.factory)
    reload_dirs = [str(settings.app_dir)] if options.reload else None
    defaults = {"log_config": log_config(), "reload_dirs": reload_dirs, **HEALTHCHECK}
    with listening(options.host, options.port, uds=arguments.get("uds"), fd=arguments.get("fd")) as listener:
        named = replace(settings, app=full_name(settings.app, settings.app_dir, factory=settings.factory))
        greet(named, app, listener, broker, tls="ssl_certfile" in arguments)
        workers = 1 if options.reload else options.workers
        config = Config(FACTORY, factory=True, reload=options.reload, workers=workers, **{**defaults, **prepared})
        codes: list[int | None]
        if options.reload:
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


def greet(
    settings: ServerSettings, app: object, listener: socket.socket, broker: BrokerInfo | None, *, tls: bool = False
) -> None:
    """Print the greeting, and a warning if other machines can reach the server. ``tls``: it serves HTTPS."""
    address = Address.of(listener, tls=tls)
    lines = greeting(settings, app, address, broker)
    sys.stdout.write("".join(escape_control(line) + "\n" for line in lines))
    sys.stdout.flush()
    host = None if address.unix_socket else listener.getsockname()[0]
    if host and not ip_address(host.partition("%")[0]).is_loopback:
        sys.stderr.write(f"fastbg: other machines can reach this server: it listens on {host}, not on 127.0.0.1\n")
