"""The app under test in a process of its own, which ends with this one."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings
from fastbg.server.starting import READY_S
from fastbg.testing.journal import JournalReader
from fastbg.testing.server import HURRY_S, STOP_S

INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class _ChildSettings(ServerSettings):
    """Settings of a child that imports from wherever this process does."""

    def environment(self) -> dict[str, str]:
        ours = [path for path in sys.path if path and not path.startswith(INSTALLED)]
        return super().environment() | {"PYTHONPATH": os.pathsep.join(ours)}


class ChildServer:
    """Serves "module:attribute" in a process of its own, which ends with this one. Raises `ServerError`.

    ``meanwhile``: is called while the process starts.
    """

    def __init__(self, app: str, folder: Path, directory: Path, *, meanwhile: Callable[[], None]) -> None:
        settings = _ChildSettings(app, directory=directory, files=(), app_dir=folder, journal_size=0)
        self.name = app
        self.journal_path = settings.journal
        with ExitStack() as stack:
            self.journal = JournalReader(self.journal_path)
            stack.callback(self.journal.close)
            self._child = stack.enter_context(ServerProcess(settings))
            self.url = self._child.url
            meanwhile()
            from anyio.from_thread import start_blocking_portal

            from fastbg.server.monitor import ServerMonitor

            self._portal = stack.enter_context(start_blocking_portal())
            watched = ServerMonitor(self._child, stop_s=STOP_S)
            self._server = stack.enter_context(self._portal.wrap_async_context_manager(watched))
            self._portal.call(self._server.ready, READY_S)
            self._stack = stack.pop_all()

    def trouble(self, patience_s: float = 0.0) -> str | None:
        with suppress(subprocess.TimeoutExpired):
            self._child.process.wait(patience_s)
            return self._portal.call(self._server.died).what
        return None

    def begin(self) -> None:
        self._portal.call(self._server.discard_output)

    def last_lines(self) -> list[str]:
        return self._portal.call(self._server.read_stderr_tail)

    def stop(self, *, drain: bool = True) -> None:
        if not drain:
            self._server.stop_s = HURRY_S
        self._stack.close()
