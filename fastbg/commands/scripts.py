"""Help for authors of scripts: the list of built-in scripts, the schema for editors, a first draft."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fastbg.errors import FastbgError
from fastbg.text import escape_control

if TYPE_CHECKING:
    from fastbg.scripting.draft import Draft
    from fastbg.scripting.outcome import Outcome
    from fastbg.scripting.reader import Source

MAX_NAMED = 20  # requests that were commented out, per reason; the file has all


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


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The options of ``--init``.

    ``path``: the new script. ``app_dir``: as for `locate`. ``run``: send its requests once, and write down what was
    seen. ``directory``: the data folder. ``work``: seconds of the example's slow job.
    """

    path: Path
    app: str | None
    app_dir: Path | None
    run: bool
    directory: Path
    work: float


def init(options: InitOptions) -> int:
    """Write a first script. Returns 0, or the exit code of a signal that ended its run. Raises `FastbgError`."""
    if options.app is None:
        raise FastbgError(
            "--init needs an app",
            where=f"--init {options.path}",
            remedy="add --app APP: a file, a module, or module:attribute",
        )
    from fastbg.scripting.draft_process import draft_of
    from fastbg.server.discovery import locate
    from fastbg.server.settings import ServerSettings

    location = locate(options.app, options.app_dir)
    settings = ServerSettings(location.target, options.directory, options.work, app_dir=location.folder)
    with _new_file(options.path) as file:
        _, draft = draft_of(settings, options.path)
        source = _checked(draft, options.path)
        outcomes: Mapping[str, Outcome] = {}
        if options.run and draft.sent:
            from fastbg.commands.draft_run import run_draft

            result, outcomes = run_draft(source, options.directory, options.work)
            if result.interrupted:
                return result.interrupted
            draft = draft.with_outcomes(outcomes)
            _checked(draft, options.path)
        file.write(draft.text)
    sys.stdout.writelines(f"{escape_control(line)}\n" for line in _report(draft, outcomes, options))
    return 0


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Open a new file, which is removed if nothing is written to it. Raises `FastbgError`."""
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        why = "the file already exists" if isinstance(error, FileExistsError) else error.strerror
        raise FastbgError(
            f"the script cannot be written: {why}",
            where=str(path),
            remedy="choose a new file in a folder that exists and is writable",
        ) from None
    with file:
        try:
            yield file
        finally:
            if not file.tell():
                path.unlink()


def _checked(draft: "Draft", path: Path) -> "Source":
    from fastbg.scripting.reader import read_script

    return read_script(draft.text, str(path), path.absolute().parent, os.environ)


def _report(draft: "Draft", outcomes: "Mapping[str, Outcome]", options: InitOptions) -> Iterator[str]:
    """Yield what was written: one name per line."""
    from fastbg.scripting.draft import reason_text

    requests = "1 request" if len(draft.sent) == 1 else f"{len(draft.sent)} requests"
    yield f"Wrote {options.path} with {requests}{', sent once' if outcomes else ''}{':' if draft.sent else ''}"
    for name in draft.sent:
        yield f"  {name}: {outcomes[name].summary}" if name in outcomes else f"  {name}"
    for why, names in draft.skipped.items():
        yield f"{reason_text('Commented out', why, len(names))}:"
        yield from (f"  {name}" for name in names[:MAX_NAMED])
        if len(names) > MAX_NAMED:
            yield f"  and {len(names) - MAX_NAMED} more"
    yield f"Run it: fastbg demo {shlex.quote(str(options.path))}"
