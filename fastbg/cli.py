"""The command line: options in, exit code out. Whatever is heavy is imported inside the commands."""

import os
import sys
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from math import ceil, isfinite
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fastbg.data_folder import DEFAULT, journal_of, written_files
from fastbg.errors import CANNOT_WRITE_ERRNOS, INTERRUPTED, FastbgError, MachineError
from fastbg.interrupts import defer, raise_deferred
from fastbg.output import drop_output, ignore_broken_pipe, report_error

app = typer.Typer(
    name="fastbg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Shows, proves and tests when FastAPI background tasks really run.",
)


def finite(value: float | None) -> float | None:
    """Refuse what `float` reads but no clock can count."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is no number of seconds.")
    return value


Folder = Annotated[
    Path,
    typer.Option("--dir", envvar="FASTBG_DIR", help="Data folder: README.md, log.txt and journal.jsonl."),
]
Work = Annotated[
    float,
    typer.Option(
        "--work",
        envvar="FASTBG_WORK",
        min=0,
        callback=finite,
        help="Seconds the example's slow job takes before it writes.",
    ),
]
JournalSize = Annotated[
    float,
    typer.Option(
        "--journal-size",
        envvar="FASTBG_JOURNAL_SIZE",
        metavar="MIB",
        min=0,
        callback=finite,
        help="MiB at which the journal goes on in a new file; 4 old ones are kept. 0: one file without end.",
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        envvar="FASTBG_BROKER",
        metavar="ADDRESS",
        show_envvar=True,
        help="NATS servers that keep the tasks, nats://host:4222, with commas between several.",
    ),
]


class Engine(StrEnum):
    process = "process"
    queue = "queue"


def show_version(wanted: bool) -> None:
    if not wanted:
        return
    from fastbg.versions import versions

    typer.echo("\n".join(f"{name} {version}" for name, version in versions().items()))
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the versions and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    application: Annotated[
        str | None, typer.Argument(metavar="APP", help="module:attribute; the example app without it.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    directory: Folder = DEFAULT,
    work: Work = 0.5,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when the code changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of server processes.")] = 1,
    record: Annotated[bool, typer.Option("--record/--no-record", help="Write the journal.")] = True,
    journal_size: JournalSize = 64,
    engine: Annotated[
        Engine, typer.Option(help="Where tasks run: in the server's process, or in workers that a queue feeds.")
    ] = Engine.process,
    broker: Broker = None,
) -> None:
    """Serve the example app, or your own, with the recorder around it."""
    from fastbg.commands.serve import serve
    from fastbg.server.settings import EXAMPLE, QUEUED_EXAMPLE, ServerSettings

    raise_deferred()
    queued = engine is Engine.queue
    settings = ServerSettings(
        application or (QUEUED_EXAMPLE if queued else EXAMPLE),
        directory=directory.absolute(),
        work=work,
        record=record,
        journal_size=ceil(journal_size * 2**20),
    )
    code = serve(settings, host=host, port=port, reload=reload, workers=workers, queued=queued, broker=broker)
    raise typer.Exit(code)


@app.command()
def worker(
    tasks: Annotated[
        str, typer.Argument(metavar="BROKER", help="module:attribute of Taskiq's broker; the example's without it.")
    ] = "fastbg.example.queued:broker",
    modules: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE", help="Modules with more tasks of that broker.")
    ] = None,
    directory: Folder = DEFAULT,
    work: Work = 0.5,
    broker: Broker = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Tasks that each process runs at once.")] = 10,
    record: Annotated[bool, typer.Option("--record/--no-record", help="Write the journal.")] = True,
    journal_size: JournalSize = 64,
) -> None:
    """Run Taskiq's worker on the tasks that a server has queued, with the recorder."""
    from fastbg.server.settings import ServerSettings
    from fastbg.services.worker import work as run

    raise_deferred()
    settings = ServerSettings(
        tasks, directory=directory.absolute(), work=work, record=record, journal_size=ceil(journal_size * 2**20)
    )
    raise typer.Exit(run(settings, modules or [], broker, workers=workers, threads=threads))


SERVER, REPORTS, SCRIPTS = "The server", "What is shown and kept", "Help with scripts"


@app.command()
def demo(
    scripts: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT", help="A .toml file or the name of a built-in script; all for all of these."),
    ] = None,
    directory: Folder = DEFAULT,
    work: Work = 0.5,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            callback=finite,
            help="Seconds for a response, then without news of its tasks and writes; 10 + 5 x work by itself.",
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=1_000_000, help="Send the requests so many times.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="So many of these at once.")] = 1,
    application: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="APP", rich_help_panel=SERVER, help="Serve this module:attribute instead of the script's."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(rich_help_panel=SERVER, help="Ask a server that runs already, instead of starting one."),
    ] = None,
    step: Annotated[
        bool,
        typer.Option("--step", rich_help_panel=REPORTS, help="Wait for Enter before each request: for a class room."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=REPORTS, help="One JSON document instead of the picture.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", rich_help_panel=REPORTS, help="One line instead of the picture.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Keep the picture as FILE.svg or FILE.html."),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Write a JUnit report, for CI servers."),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", rich_help_panel=SCRIPTS, help="Show the built-in scripts and leave.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=SCRIPTS, help="Write a first script for --app and leave."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", rich_help_panel=SCRIPTS, help="Print the JSON Schema of scripts and leave.")
    ] = False,
) -> None:
    """Fire a script at an app and show what came first, the response or the write."""
    ignore_broken_pipe()
    if show_list or schema or init is not None:
        from fastbg.commands import scripts as helpers

        raise_deferred()  # the user's app is imported next, which may take for ever
        if init is not None:
            raise typer.Exit(helpers.init(init, application))
        raise typer.Exit(helpers.show_list() if show_list else helpers.show_schema())
    from fastbg.commands.demo import demo
    from fastbg.commands.demo_options import DemoOptions

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    options = DemoOptions(
        directory.absolute(),
        work,
        tuple(scripts or ()),
        application,
        url,
        timeout,
        repeat=repeat,
        concurrency=concurrency,
        step=step,
        as_json=as_json,
        save=save,
        quiet=quiet,
        junit=junit,
        summary=Path(summary) if summary else None,
    )
    raise typer.Exit(demo(options))


@app.command()
def tail(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Files; README.md and log.txt without any.")
    ] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Show this many last lines first.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on with what comes.")] = True,
    journal: Annotated[bool, typer.Option("--journal", help="Add the server's events.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    directory: Folder = DEFAULT,
) -> None:
    """Follow what the background tasks write."""
    from fastbg.commands.tail import tail

    raise_deferred()
    paths = files or written_files(directory)
    journals = [journal_of(directory)] if journal else []
    data_folder = None if files else directory
    raise typer.Exit(
        tail(paths, journals=journals, lines=lines, follow=follow, as_json=as_json, data_folder=data_folder)
    )


@app.command()
def report(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="A journal.jsonl; - reads standard input.")],
    last: Annotated[int, typer.Option(min=0, max=1000, help="Show this many last requests one by one.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the picture.")] = False,
) -> None:
    """Show again what a server recorded earlier, without firing anything."""
    from fastbg.commands.report import report

    raise_deferred()
    ignore_broken_pipe()
    raise typer.Exit(report(journal, last=last, as_json=as_json))


@app.command()
def explain(
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help="A page, or a word; lists the pages without any.")
    ] = None,
) -> None:
    """Show a page of the documentation, or what it says about a word."""
    from fastbg.commands.explain import explain

    raise_deferred()
    ignore_broken_pipe()
    raise typer.Exit(explain(" ".join(topic or ())))


def main() -> None:
    """Run the command line: exit codes 0 as expected, 1 not as expected, 2 usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 gets escapes, not a crash
    defer()
    try:
        _run()
    except FastbgError as error:
        report_error(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader has gone: `fastbg tail | head -1`
        drop_output()
        sys.exit(0)
    except OSError as error:
        lack = MachineError.from_os_error(error)
        if lack is None:
            raise
        if error.errno in CANNOT_WRITE_ERRNOS:
            drop_output()
        report_error(lack)
        sys.exit(2)


def _run() -> None:
    """Run the command, with all of its output written at the end. Raises what the command does, and `OSError`."""
    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _leave_interrupted()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
        raise


def _leave_interrupted() -> NoReturn:
    """Exit with 130. Where Ctrl-C met an import, CPython would at the very end kill itself by SIGINT instead."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(INTERRUPTED)
