"""Help for authors of scripts: the list of built-in scripts, the schema for editors, a first draft."""

import os
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


def init(path: Path, app: str | None) -> int:
    """Write a first script for ``app`` ("module:attribute" in the current folder) to ``path``. Returns 0.

    Raises `FastbgError`.
    """
    if app is None:
        raise FastbgError(
            "--init needs an app",
            where=f"--init {path}",
            remedy="add --app module:attribute",
        )
    from fastbg.scripting.draft import write_draft

    names = write_draft(app, path, Path.cwd())
    requests = "1 request" if len(names) == 1 else f"{len(names)} requests"
    sys.stdout.write(escape_control(f"Wrote {path} with {requests}: {', '.join(names)}") + "\n")
    sys.stdout.write(escape_control(f"Run it: fastbg demo {path}") + "\n")
    return 0
