"""Drafts a script for an app in a process of its own, which has ended before the app's server starts.

At its import, an app may lock a file, listen on a port, start threads, or print. The process of ``fastbg demo`` must
not do that, and the server must be able to do it.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from fastbg.errors import FastbgError, ServerDied
from fastbg.scripting.draft import Draft, draft
from fastbg.server.discovery import import_folder
from fastbg.server.importer import full_name, load
from fastbg.server.parent import end_with
from fastbg.server.settings import ServerSettings

PROGRAM = "from fastbg.scripting.draft_process import main; main()"


def draft_of(settings: ServerSettings, path: Path = Path("FILE")) -> tuple[str, Draft]:
    """Return the name of the app as "module:attribute", and a first script for it at ``path``.

    Raises `FastbgError` if the app cannot be loaded.
    """
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as output:
        with subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(result.fileno()), str(path.absolute())],
            stdin=subprocess.PIPE,  # closed when this process ends, see `fastbg.server.parent`
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(result.fileno(),),
            env=os.environ | settings.environment(),
            start_new_session=True,
        ) as child:
            try:
                child.wait()
            except BaseException:
                child.kill()
                child.wait()  # the end of the block does not wait after a Ctrl-C
                raise
        result.seek(0)
        output.seek(0)
        found, lines = result.read(), output.read().decode("utf-8", "replace").splitlines()
    if not found:
        raise ServerDied(
            f"the app could not be loaded: its process ended with {child.returncode}",
            where=settings.app,
            remedy="fix the app: its last output is above",
            stderr=lines,
        )
    values = json.loads(found)
    if "what" in values:
        raise FastbgError(**values)
    return values["target"], TypeAdapter(Draft).validate_python(values["draft"])


def _app_dir(target: str, folder: Path) -> str | None:
    """Return ``folder`` relative to the current one, None if the app is imported from it anyway."""
    app_dir = os.path.relpath(folder)
    return None if app_dir == os.path.relpath(import_folder(target, Path.cwd())) else app_dir


def main() -> None:
    """Write the draft, or the parts of an error, to the descriptor in the first argument. The second is its path.

    The process does not wait for threads of the app.
    """
    end_with(sys.stdin.fileno())
    settings = ServerSettings.from_environment()
    values: dict[str, object]
    try:
        app, target = load(settings.app, settings.app_dir), full_name(settings.app, settings.app_dir)
        path = Path(sys.argv[2])
        folder = os.path.relpath(Path.cwd(), path.parent)  # the server runs where the app was imported now
        made = draft(app, target, folder, app_dir=_app_dir(target, settings.app_dir), file=path.name)
        values = {"target": target, "draft": asdict(made)}
    except FastbgError as error:
        values = {"what": error.what, "where": error.where, "remedy": error.remedy}
    with os.fdopen(int(sys.argv[1]), "w") as result:
        json.dump(values, result)
    atexit._run_exitfuncs()
    os._exit(0)
