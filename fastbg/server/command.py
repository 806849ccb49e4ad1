"""Starts the user's own server command as a child process, with the recorder in each of its serving processes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from fastbg.attach.environment import attached
from fastbg.errors import ServerError
from fastbg.server.address import Address
from fastbg.server.listener import bind
from fastbg.server.parent import death_signal
from fastbg.server.process import ServerProcess, popen
from fastbg.server.settings import PORT_MARK, ServerSettings


class CommandProcess(ServerProcess):
    """The ``command`` of the settings, on a port that was free. It writes no status, and listens when it is ready.

    SIGTERM stops it, since servers take SIGINT as a reason to hurry. Raises `ServerError`.
    """

    stop_signal = signal.SIGTERM
    listens_at_once = False

    def _start(self, status: int) -> "tuple[str, subprocess.Popen[bytes]]":
        settings = self.settings
        with bind("127.0.0.1", 0) as listener:
            url, port = str(Address.of(listener)), listener.getsockname()[1]
        command = [word.replace(PORT_MARK, str(port)) for word in settings.command]
        program = find_program(command[0], settings.run_in)
        environment = attached(
            os.environ | {name: value.replace(PORT_MARK, str(port)) for name, value in settings.env},
            uuid4().hex,
            directory=settings.directory,
            follow=settings.followed,
            journal_mib=settings.journal_size / 2**20,
        )
        try:
            return url, popen([program, *command[1:]], settings, environment, (status,), death_signal())
        except OSError as error:
            raise ServerError(
                f"the command cannot be started: {error.strerror}", where=program, remedy="check that it is a program"
            ) from None


def process_of(settings: ServerSettings) -> ServerProcess:
    """Start the server of ``settings``. Raises `ServerError`."""
    return CommandProcess(settings) if settings.command else ServerProcess(settings)


def find_program(name: str, folder: Path | None) -> str:
    """Return the path of a program: beside fastbg's own Python, else in ``PATH``. Raises `ServerError`.

    ``folder``: for a name with a slash.
    """
    if os.sep in name:
        return str((folder or Path.cwd()) / name)
    own = Path(sys.executable).parent
    program = shutil.which(name, path=str(own)) or shutil.which(name)
    if program is None:
        raise ServerError(
            f"the command {name} does not exist",
            where=f"{own}, and the folders of PATH",
            remedy=f"install {name} where fastbg is installed, or correct the name",
        )
    return program
