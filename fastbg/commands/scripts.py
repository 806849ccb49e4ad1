"""Help for authors of scripts: the list of built-in scripts, the schema for editors, a first draft."""

import os
import shlex
import sys
from importlib import resources
from pathlib import Path

from fastbg.errors import FastbgError
from fastbg.text import escape_control


def show_list() -> int:
    from fastbg.report.console import scripts
    from fastbg.report.style import plain_console
    from fastbg.scripting.builtin import listed

    titles = {
        group: [(source.name.removesuffix(".toml"), source.script.title) for source in sources]
        for group, sources in listed(os.environ).items()
    }
    plain_console().print(scripts(titles))
    sys.stdout.write("\nfastbg show NAME shows its code, fastbg demo NAME runs it.\n")
    return 0


def show_schema() -> int:
    sys.stdout.write(resources.files("fastbg.scripts").joinpath("schema.json").read_text("utf-8"))
    return 0


def init(path: Path, app: str | None, app_dir: Path | None) -> int:
    """Write a first script for ``app`` to ``path``. ``app_dir``: as for `locate`. Returns 0. Raises `FastbgError`."""
    if app is None:
        raise FastbgError(
            "--init needs an app",
            where=f"--init {path}",
            remedy="add --app APP: a file, a module, or module:attribute",
        )
    from fastbg.scripting.draft import write_draft
    from fastbg.server.discovery import locate

    location = locate(app, app_dir)
    made = write_draft(location.target, path, location.folder)
    requests = "1 request" if len(made.sent) == 1 else f"{len(made.sent)} requests"
    lines = [f"Wrote {path} with {requests}{': ' if made.sent else ''}{', '.join(made.sent)}"]
    lines += [*made.remarks("Commented out"), f"Run it: fastbg demo {shlex.quote(str(path))}"]
    sys.stdout.writelines(escape_control(line) + "\n" for line in lines)
    return 0
