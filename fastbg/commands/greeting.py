"""The greeting of ``fastbg serve``: its address, its files, and the commands for another terminal."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastbg.data_folder import DEFAULT
from fastbg.recorder.rotation import KEPT
from fastbg.server.settings import EXAMPLE, QUEUED_EXAMPLE, ServerSettings


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """The broker of the tasks. ``addresses``: without passwords. ``folder``: of an embedded broker, else None."""

    addresses: str
    folder: Path | None = None


def greeting(settings: ServerSettings, url: str, broker: BrokerInfo | None) -> Iterator[str]:
    yield f"fastbg serves {settings.app} at {url} (press Ctrl-C to stop)"
    yield f"  data folder  {settings.directory}"
    if settings.record:
        yield f"  journal      {settings.journal}{_rotation(settings.journal_size)}"
    if broker is not None:
        yield f"  broker       {_described(broker)}"
    yield "Now, in another terminal:"
    yield from (f"  {command}" for command in _commands(settings, url, broker))


def _rotation(size: int) -> str:
    return f" (rotated at {size / 2**20:.3g} MiB, {KEPT} old files are kept)" if size else " (never rotated)"


def _described(broker: BrokerInfo) -> str:
    if broker.folder is None:
        return broker.addresses
    return f"{broker.addresses}, an embedded NATS server; it stores the tasks in {broker.folder}"


def _commands(settings: ServerSettings, url: str, broker: BrokerInfo | None) -> Iterator[str]:
    folder = "" if settings.directory == Path.cwd() / DEFAULT else f" --dir {shlex.quote(str(settings.directory))}"
    example = settings.app in (EXAMPLE, QUEUED_EXAMPLE)
    if broker is not None:
        worker = "" if settings.app == QUEUED_EXAMPLE else " module:broker"
        address = " --broker ADDRESS" if broker.folder is None else ""
        yield f"fastbg worker{worker}{folder}{address}"
    if example or settings.record:
        yield f"fastbg tail{'' if example else ' --journal'}{folder}"
    yield f"curl -X POST '{url}/send-notification/you@example.com?q=hello'" if example else f"curl {url}/"
