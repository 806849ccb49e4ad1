"""``fastbg run``: becomes the user's command, with the recorder in each of its processes that serves an app."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from fastbg.attach.environment import SITE, attached
from fastbg.commands.run_watch import watch
from fastbg.errors import FastbgError
from fastbg.server.settings import ServerSettings

PTH = (
    'import os; os.environ.get("FASTBG_RECORD", "0") in ("", "0") or'
    ' exec(open({path!r}, encoding="utf-8").read(), {{"__name__": "fastbg", "__file__": {path!r}}})'
)


def run(command: Sequence[str], *, directory: Path, follow: Sequence[Path], journal_size: float) -> NoReturn:
    """Replace this process by ``command``. Raises `FastbgError`.

    ``directory``: the data folder. ``follow``: files whose sizes are recorded. ``journal_size``: in MiB.
    """
    settings = ServerSettings("", directory=directory.absolute())
    settings.make_folder()
    program = shutil.which(command[0])
    if program is None and os.path.exists(command[0]) and "/" in command[0]:  # noqa: PTH110  # never raises
        raise FastbgError(
            "the command is not an executable file",
            where=command[0],
            remedy="name the program that runs it, such as `python main.py`, or make it executable with `chmod +x`",
        )
    if program is None:
        raise FastbgError(
            f"the command {command[0]!r} does not exist",
            where="fastbg run",
            remedy="correct the name, or activate the environment in which the server is installed",
        )
    run_id = uuid4().hex
    environment = attached(os.environ, run_id, directory=settings.directory, follow=follow, journal_mib=journal_size)
    starting = watch(settings.journal, run_id, " ".join(command))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and a new program would inherit this
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(program, list(command), environment)  # noqa: S606  # the user's command
    except OSError as error:
        os.write(starting, b"failed")
        raise FastbgError(
            f"the command cannot be started: {error.strerror}",
            where=program,
            remedy="check that it is a program, and that the program in its first line exists",
        ) from None


def pth_line() -> str:
    """Return the line of a ``.pth`` file for an environment: it attaches the recorder also without ``PYTHONPATH``."""
    return PTH.format(path=str(SITE / "sitecustomize.py"))
