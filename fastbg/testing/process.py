"""Serves the app under test in a child process, which ends with this process."""

import os
import sys
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import sleep

from fastbg.clock import monotonic
from fastbg.server.address import Address
from fastbg.server.discovery import import_folder
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings
from fastbg.server.starting import READY_S
from fastbg.testing.configuration import Configuration
from fastbg.testing.event_loop import start_portal
from fastbg.testing.journal import JournalReader
from fastbg.testing.server import INTERRUPTED_STOP_S, STOP_S

PAUSE_S = 0.005  # between two looks at the server process
INSTALLED_PATHS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class _ChildSettings(ServerSettings):
    """Settings of a child process with the import paths of this process."""

    def environment(self) -> dict[str, str]:
        variables = super().environment()
        own = [os.path.abspath(path) for path in sys.path if path and not path.startswith(INSTALLED_PATHS)]
        given = dict(self.env).get("PYTHONPATH")
        return variables | {"PYTHONPATH": os.pathsep.join([*([given] if given else []), *own])}


class ChildServer:
    """A server for "module:attribute" in a child process, which ends with this process. Raises `ServerError`.

    ``folder``: where the app is. ``while_starting``: called while the process starts.
    """

    event_loop = "fastbg serves this app in a process of its own, with one event loop"

    def __init__(
        self,
        app: str,
        folder: Path,
        directory: Path,
        configuration: Configuration,
        *,
        while_starting: Callable[[], None],
    ) -> None:
        options = dict(configuration.options)
        app_dir, factory = options.pop("app_dir", None), options.pop("factory", False)
        settings = _ChildSettings(
            app,
            directory=directory,
            files=(),
            app_dir=import_folder(app, folder) if app_dir is None else Path(app_dir),
            factory=factory,
            journal_size=0,
            run_in=configuration.folder,
            env=tuple(configuration.env.items()),
            options=tuple(options.items()),
        )
        self.name = app
        self.journal_path = settings.journal
        with ExitStack() as stack:
            self.journal = JournalReader(self.journal_path)
            stack.callback(self.journal.close)
            self._child = stack.enter_context(ServerProcess(settings))
            self.address = Address.parse(self._child.url)
            while_starting()
            from fastbg.server.monitor import ServerMonitor

            self._portal = stack.enter_context(start_portal())
            monitor = ServerMonitor(self._child, stop_s=STOP_S)
            self._server = stack.enter_context(self._portal.wrap_async_context_manager(monitor))
            self._portal.call(self._server.ready, READY_S)
            self._stack = stack.pop_all()

    def stop_reason(self, timeout_s: float = 0.0) -> str | None:
        end = monotonic() + timeout_s  # `Popen.wait` would not end under freezegun
        while self._child.process.poll() is None:
            if monotonic() >= end:
                return None
            sleep(PAUSE_S)
        return self._portal.call(self._server.died).what

    def start_test(self) -> None:
        self._portal.call(self._server.discard_output)

    def last_lines(self) -> list[str]:
        return self._portal.call(self._server.read_stderr_tail)

    def stop(self, *, drain: bool = True) -> None:
        if not drain:
            self._server.stop_s = INTERRUPTED_STOP_S
        self._stack.close()
