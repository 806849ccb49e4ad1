"""``fastbg run``: becomes the user's command, with the recorder in each of its processes that serves an app."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from fastbg.commands.run_watch import watch
from fastbg.errors import FastbgError
from fastbg.server.settings import ServerSettings

SITE = Path(__file__).parent.parent / "attach" / "site"  # with sitecustomize.py, and nothing else
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
    if program is None:
        raise FastbgError(
            f"the command {command[0]} does not exist",
            where="fastbg run",
            remedy="correct the name, or activate the environment in which the server is installed",
        )
    run_id = uuid4().hex
    environment = os.environ | {
        "FASTBG_RECORD": "1",
        "FASTBG_RUN": run_id,
        "FASTBG_DIR": str(settings.directory),
        "FASTBG_FOLLOW": _joined(follow),
        "FASTBG_JOURNAL_SIZE": f"{journal_size:g}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH")])),
    }
    watch(settings.journal, run_id, " ".join(command))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and a new program would inherit this
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(program, list(command), environment)  # noqa: S606  # the user's command
    except OSError as error:
        raise FastbgError(
            f"the command cannot be started: {error.strerror}", where=program, remedy="check that it is a program"
        ) from None


def pth_line() -> str:
    """Return the line of a ``.pth`` file for an environment: it attaches the recorder also without ``PYTHONPATH``."""
    return PTH.format(path=str(SITE / "sitecustomize.py"))


def _joined(paths: Sequence[Path]) -> str:
    for path in paths:
        if os.pathsep in str(path):
            raise FastbgError(
                f"a followed file cannot have {os.pathsep!r} in its path", where=str(path), remedy="choose another path"
            )
    return os.pathsep.join(str(path.absolute()) for path in paths)
