"""Serves an ASGI app with the recorder around it.

`application` is what every serving process calls, be it the only one, one of several workers, or one that
the reloader started. Its settings come by the environment, the one thing that all of these inherit.
"""

import errno
import gc
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from fastbg.errors import NO_ROOM, ServerError
from fastbg.text import safe

if TYPE_CHECKING:
    from uvicorn import Config, Server

    from fastbg.broker import Broker

EXAMPLE = "fastbg.example:app"
QUEUED_EXAMPLE = "fastbg.example.queued:app"
VARIABLE = "FASTBG_SETTINGS"
ROOM = 4096  # bytes that the data folder has to have for a server to start: some twenty events
BACKLOG = 2048  # as uvicorn's
STARTUP_FAILURE = 3  # uvicorn's exit code where the app does not come up
INTERRUPTED = 130
JOURNAL_SIZE = 64 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, and where its files are.

    ``app``: "module:attribute". ``directory``: the data folder, absolute. ``work``: seconds of the example's slow
    job. ``record``: write the journal. ``journal_size``: bytes at which it is rotated, 0 for never. ``files``: whose
    sizes the journal tells; without it README.md and log.txt in the data folder. ``app_dir``: the folder to import the
    app from. ``run_in``: the folder that a child process runs in, this one's without it. ``env``: more environment
    variables. ``options``: settings of uvicorn.
    """

    app: str
    directory: Path
    work: float = 0.5
    record: bool = True
    journal_size: int = JOURNAL_SIZE
    files: tuple[Path, ...] | None = None
    app_dir: Path = field(default_factory=Path.cwd)
    run_in: Path | None = None
    env: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def journal(self) -> Path:
        return self.directory / "journal.jsonl"

    @property
    def followed(self) -> tuple[Path, ...]:
        if self.files is not None:
            return self.files
        return self.directory / "README.md", self.directory / "log.txt"

    def environment(self) -> dict[str, str]:
        """The environment variables that carry the settings to a serving process, and to the example app."""
        values = {
            "app": self.app,
            "directory": str(self.directory),
            "work": self.work,
            "record": self.record,
            "journal_size": self.journal_size,
            "files": [str(path) for path in self.followed],
            "app_dir": str(self.app_dir),
            "options": self.options,
        }
        ours = {VARIABLE: json.dumps(values), "FASTBG_DIR": str(self.directory), "FASTBG_WORK": str(self.work)}
        return ours | dict(self.env)

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings that `environment` put there."""
        values: dict[str, Any] = json.loads(os.environ[VARIABLE])
        for key in ("directory", "app_dir"):
            values[key] = Path(values[key])
        values["files"] = tuple(map(Path, values["files"]))
        values["options"] = tuple(map(tuple, values["options"]))
        return cls(**values)

    def make_folder(self) -> None:
        """Make the data folder, and the journal in it, if there is room for some. Raises `ServerError`."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if self.record:
                with self.journal.open("ab"):
                    pass
                trial = self.directory / f".room-{os.getpid()}-{time.monotonic_ns()}"
                with trial.open("xb") as file:
                    trial.unlink()
                    file.write(bytes(ROOM))
        except OSError as error:
            raise ServerError(
                f"the data folder cannot be written: {error.strerror}",
                where=str(error.filename or self.directory),
                remedy=f"{'free some space there, or ' * (error.errno in NO_ROOM)}name another folder with --dir",
            ) from None

    def check(self) -> None:
        """Make the data folder, and load the app. Raises `ServerError` if either is impossible."""
        self.make_folder()
        from fastbg.loading import load

        load(self.app, self.app_dir)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host`` and ``port``; 0 takes a free one. Raises `ServerError`."""
    where = f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ServerError(
            "there is no such host", where=where, remedy="name an address of this machine with --host"
        ) from None
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            failure = failure or error
        else:
            return listener
    assert failure is not None  # noqa: S101  # getaddrinfo gives one address at least
    raise _cannot_bind(failure, where) from None


def _cannot_bind(error: OSError, where: str) -> ServerError:
    remedies = {
        errno.EADDRINUSE: (
            "the port is in use",
            "stop what listens there, or take another --port (0 takes a free one)",
        ),
        errno.EACCES: ("the port may not be used", "take a --port of 1024 or above"),
        errno.EADDRNOTAVAIL: ("this machine has no such address", "name an address of this machine with --host"),
    }
    what, remedy = remedies.get(
        error.errno or 0, (f"cannot listen: {error.strerror}", "take another --host and --port")
    )
    return ServerError(what, where=where, remedy=remedy)


def without_password(addresses: str) -> str:
    """Addresses of a broker, without what stands before an @."""
    return re.sub(r"//[^/@,]*@", "//…@", addresses)


def url_of(listener: socket.socket) -> str:
    """The address to ask ``listener`` at, without a slash at its end."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens on all of them
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def application() -> Any:
    """The app that the settings name, as uvicorn calls it in each serving process: the recorder is around it."""
    from fastbg.draining import Draining
    from fastbg.loading import load
    from fastbg.output import outlast_readers

    outlast_readers("uvicorn.access")
    settings = Settings.from_environment()
    try:
        app = load(settings.app, settings.app_dir)
    except ServerError as error:  # only after a change: the parent loaded it before
        from fastbg.cli import report_error

        report_error(error)
        sys.exit(STARTUP_FAILURE)
    gc.freeze()  # what is loaded by now stays: no collection need look at it, and a request costs a tenth less
    if not settings.record:
        draining = Draining(app)
        on_second_interrupt(
            lambda: _leave("without the journal nobody knows how many background tasks were lost"), draining.begin
        )
        return draining
    from fastbg.hooks import install
    from fastbg.journal import Journal
    from fastbg.recorder import Recorder

    install()
    journal = Journal(settings.journal, settings.journal_size)
    if "taskiq" in sys.modules:  # the app uses it
        from fastbg import queue_recorder

        queue_recorder.install(journal, settings.followed)
    recorder = Recorder(app, journal, settings.followed)

    def leave() -> NoReturn:
        lost = recorder.shut_down()
        _leave(
            f"{lost} background task{' was' if lost == 1 else 's were'} lost" if lost else "no background task was lost"
        )

    draining = Draining(recorder)
    on_second_interrupt(leave, draining.begin)
    return draining


def _leave(what: str) -> NoReturn:
    with suppress(OSError):  # whoever read it may have left by the same Ctrl-C
        os.write(2, f"fastbg: process {os.getpid()} left at once: {what}\n".encode())
    os._exit(INTERRUPTED)  # threads that run tasks would hold up any other way


def on_second_interrupt(act: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
    """Call ``act`` on a SIGINT that comes after a first SIGINT or SIGTERM, which goes where it went before.

    ``begin`` is called on the first one, in the signal handler.
    SIGHUP, by which a terminal that is closed says so, counts as SIGTERM; unless it is ignored, as under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # an embedded server, which no signal reaches
    before: dict[int, Any] = {}
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            act()
        if not stopping:
            begin()
        stopping = True
        number = signal.SIGTERM if number == signal.SIGHUP else number
        if callable(before[number]):
            before[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)


def serve(
    settings: Settings, *, host: str, port: int, reload: bool, workers: int, broker: "Broker | str | None" = None
) -> int:
    """Serve until a signal comes, then let the running tasks finish: exit code 0, or 130 after a second Ctrl-C.

    ``broker``: of the tasks that workers do, the address of one or one that was started for this server. Raises
    `ServerError` if it cannot start.
    """
    from uvicorn import Config

    from fastbg.logs import log_config

    os.environ |= settings.environment()
    settings.check()
    listener = bind(host, port)
    _tell(settings, listener, broker)
    config = Config(
        "fastbg.serving:application",
        factory=True,
        reload=reload,
        reload_dirs=[str(settings.app_dir)] if reload else None,
        workers=1 if reload else workers,
        log_config=log_config(),
    )
    if reload:
        codes = _run_reloader(config, listener)
    elif workers > 1:
        codes = _run_workers(config, listener)
    else:
        from fastbg.uvicorn_versions import Server

        codes = [run(Server(config), listener)]
    if STARTUP_FAILURE in codes:
        raise ServerError(
            "the app did not start up", where=settings.app, remedy="mend what the server's log above complains of"
        )
    return INTERRUPTED if INTERRUPTED in codes else 0


def run(server: "Server", listener: socket.socket) -> int:
    """Serve on ``listener`` in this process; 0 after a signal and a clean end, uvicorn's exit code otherwise."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn takes these over while it serves, and raises them again when it is done: this is where they end.
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[listener])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else STARTUP_FAILURE
    return 0


def _run_workers(config: "Config", listener: socket.socket) -> list[int | None]:
    from fastbg.uvicorn_versions import Workers

    supervisor = Workers(config, listener)
    on_second_interrupt(lambda: _interrupt(supervisor.pids))
    supervisor.run()
    return supervisor.exit_codes


def _run_reloader(config: "Config", listener: socket.socket) -> list[int | None]:
    from uvicorn.supervisors import ChangeReload

    from fastbg.uvicorn_versions import Server

    class Reloader(ChangeReload):  # type: ignore[valid-type,misc]  # which class it is depends on what is installed
        def startup(self) -> None:
            super().startup()  # installs its signal handlers
            on_second_interrupt(lambda: _interrupt([self.process.pid]))

    reloader = Reloader(config, target=Server(config).run, sockets=[listener])
    reloader.run()
    code = reloader.process.exitcode
    return [] if code == STARTUP_FAILURE else [code]  # broken code is what one mends while the reloader waits


def _interrupt(pids: list[int | None]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid or 0, signal.SIGINT)


def _rotation(size: int) -> str:
    from fastbg.rotation import KEPT

    return f" (rotated at {size / 2**20:.3g} MiB; the last {KEPT} old ones are kept)" if size else " (never rotated)"


def _tell(settings: Settings, listener: socket.socket, broker: "Broker | str | None") -> None:
    """Say where the server listens and writes, and what to type in the next terminal."""
    import shlex
    from ipaddress import ip_address

    url = url_of(listener)
    lines = [f"fastbg serves {settings.app} at {url} (Ctrl-C ends it)", f"  data folder  {settings.directory}"]
    if settings.record:
        lines.append(f"  journal      {settings.journal}{_rotation(settings.journal_size)}")
    folder = "" if settings.directory == Path.cwd() / ".fastbg" else f" --dir {shlex.quote(str(settings.directory))}"
    named = ""
    if isinstance(broker, str):
        lines.append(f"  broker       {without_password(broker)}")
        named = " --broker ADDRESS"
    elif broker is not None:
        lines.append(f"  broker       {broker.address}, an embedded NATS server; it keeps its tasks in {broker.folder}")
    lines.append("Now, in another terminal:")
    if broker is not None:
        worker = "" if settings.app == QUEUED_EXAMPLE else " module:broker"
        lines.append(f"  fastbg worker{worker}{folder}{named}")
    example = settings.app in (EXAMPLE, QUEUED_EXAMPLE)
    if example or settings.record:
        lines.append(f"  fastbg tail{'' if example else ' --journal'}{folder}")
    if example:
        lines.append(f"  curl -X POST '{url}/send-notification/you@example.com?q=hello'")
    else:
        lines.append(f"  curl {url}/")
    sys.stdout.write("".join(safe(line) + "\n" for line in lines))
    sys.stdout.flush()
    host = listener.getsockname()[0]
    if not ip_address(host.partition("%")[0]).is_loopback:
        sys.stderr.write(f"fastbg: other machines can reach this server: it listens on {host}, not on 127.0.0.1\n")
