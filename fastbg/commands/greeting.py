"""The greeting of ``fastbg serve``: its address, its files, and the commands for another terminal."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastbg.recorder.rotation import KEPT
from fastbg.server.address import Address
from fastbg.server.settings import EXAMPLE, QUEUED_EXAMPLE, ServerSettings


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """The broker of the tasks. ``addresses``: without passwords. ``folder``: of an embedded broker, else None."""

    addresses: str
    folder: Path | None = None


def greeting(settings: ServerSettings, app: object, address: Address, broker: BrokerInfo | None) -> Iterator[str]:
    """Yield the lines of the greeting. ``app``: the app of ``settings``."""
    yield f"fastbg serves {settings.app} at {address} (press Ctrl-C to stop)"
    yield f"  data folder  {settings.directory}"
    if settings.record:
        yield f"  journal      {settings.journal}{_rotation(settings.journal_size)}"
    if broker is not None:
        yield f"  broker       {_described(broker)}"
    if (docs := _docs(app)) and address.unix_socket is None:  # browsers open no Unix sockets
        yield f"  docs         {address.url}{docs}"
    yield "Now, in another terminal:"
    yield from (f"  {command}" for command in _commands(settings, app, address, broker))


def _rotation(size: int) -> str:
    return f" (rotated at {size / 2**20:.3g} MiB, {KEPT} old files are kept)" if size else " (never rotated)"


def _described(broker: BrokerInfo) -> str:
    if broker.folder is None:
        return broker.addresses
    return f"{broker.addresses}, an embedded NATS server; it stores the tasks in {broker.folder}"


def _docs(app: object) -> str | None:
    """Return the path of the app's interactive documentation, None without one."""
    path = getattr(app, "docs_url", None) if getattr(app, "openapi_url", None) else None
    return path if isinstance(path, str) else None


def _commands(settings: ServerSettings, app: object, address: Address, broker: BrokerInfo | None) -> Iterator[str]:
    folder = f" --dir {shlex.quote(str(settings.directory))}"  # the other terminal may be in another folder
    example = settings.app in (EXAMPLE, QUEUED_EXAMPLE)
    if broker is not None:
        worker = "" if settings.app == QUEUED_EXAMPLE else " module:broker"
        option = " --broker ADDRESS" if broker.folder is None else ""
        yield f"fastbg worker{worker}{folder}{option}"
    if example or settings.record:
        yield f"fastbg tail{folder}"
    if example:
        path = "/send-notification/you@example.com?q=hello"
        yield shlex.join(["curl", *_curl_options(address), "-X", "POST", address.url + path])
    elif command := _request(app, address):
        yield command


def _request(app: object, address: Address) -> str | None:
    """Return the curl command of a request that the app is likely to accept, or None."""
    from fastbg.commands.curl import curl_of_app

    try:
        return curl_of_app(app, address.url, _curl_options(address))
    except Exception:  # noqa: BLE001  # of the app's OpenAPI document: the server starts without this suggestion
        return None


def _curl_options(address: Address) -> list[str]:
    unix_socket = [] if address.unix_socket is None else ["--unix-socket", address.unix_socket]
    return [*unix_socket, *(["--insecure"] if address.url.startswith("https:") else [])]  # most are self-signed
