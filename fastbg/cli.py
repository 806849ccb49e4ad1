"""The command line: parses the options and returns exit codes. Each command imports its heavy modules itself."""

import os
import sys
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from math import ceil
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fastbg.commands.help import Command, Group, examples
from fastbg.commands.serve_options import (
    EnvFile,
    Factory,
    LogLevel,
    ProxyHeaders,
    RootPath,
    ServeCommand,
    SslCertfile,
    SslKeyfile,
    Uds,
    UvicornWords,
)
from fastbg.commands.shared_options import (
    LIVE_PAGE,
    OUTPUT,
    QUEUE,
    SCRIPTS,
    SERVER,
    AppDir,
    Broker,
    Folder,
    JournalSize,
    Record,
    Save,
    Work,
    complete_app,
    complete_file,
    complete_script,
    complete_topic,
    file_option,
    finite,
    refuse_together,
)
from fastbg.data_folder import DEFAULT
from fastbg.errors import CANNOT_WRITE_ERRNOS, INTERRUPTED, FastbgError, MachineError
from fastbg.interrupts import defer, raise_deferred
from fastbg.output import drop_output, ignore_broken_pipe, ignore_impossible_size, open_streams, report_error

app = typer.Typer(
    name="fastbg",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Show, prove and test when FastAPI background tasks really run.",
    epilog=examples("fastbg demo", "fastbg serve shop:app"),
)


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
        bool,
        typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Show the versions and exit."),
    ] = False,
) -> None:
    pass


@app.command(cls=ServeCommand, epilog=examples("fastbg serve shop:app --reload", "fastbg serve shop:app -- --http h11"))
def serve(
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            autocompletion=complete_app,
            help="A file, a module or module:attribute. Default: the example app.",
        ),
    ] = None,
    words: UvicornWords = None,
    app_dir: AppDir = None,
    factory: Factory = False,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 chooses a free port.")
    ] = 8000,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when the code changes.")] = False,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Number of server processes.")] = 1,
    env_file: EnvFile = None,
    log_level: LogLevel = None,
    root_path: RootPath = None,
    proxy_headers: ProxyHeaders = None,
    uds: Uds = None,
    ssl_certfile: SslCertfile = None,
    ssl_keyfile: SslKeyfile = None,
    directory: Folder = DEFAULT,
    record: Record = True,
    journal_size: JournalSize = 64,
    work: Work = 0.5,
    engine: Annotated[
        Engine,
        typer.Option(
            metavar="process|queue",
            rich_help_panel=QUEUE,
            help="Run tasks in the server's process, or queue them for fastbg worker.",
        ),
    ] = Engine.process,
    broker: Broker = None,
) -> None:
    """Serve the example app or your own app, and record its background tasks."""
    from fastbg.commands.serve import ServeOptions, serve
    from fastbg.server.discovery import locate
    from fastbg.server.settings import EXAMPLE, QUEUED_EXAMPLE, ServerSettings

    raise_deferred()
    words = words or []
    if application is not None and application.startswith("-"):  # only possible after --
        words, application = [application, *words], None
    uvicorn = {
        "env_file": env_file,
        "factory": factory or None,
        "log_level": log_level,
        "proxy_headers": proxy_headers,
        "root_path": root_path,
        "ssl_certfile": ssl_certfile,
        "ssl_keyfile": ssl_keyfile,
        "uds": uds,
    }
    queued = engine is Engine.queue
    location = locate(application or (QUEUED_EXAMPLE if queued else EXAMPLE), app_dir)
    settings = ServerSettings(
        location.target,
        app_dir=location.folder,
        directory=directory.absolute(),
        work=work,
        record=record,
        journal_size=ceil(journal_size * 2**20),
    )
    options = ServeOptions(host, port, reload, workers, queued, broker, uvicorn, words)
    raise typer.Exit(serve(settings, options))


@app.command(
    cls=Command,
    context_settings={"allow_interspersed_args": False},
    epilog=examples("fastbg run -- gunicorn -k asgi shop:app", "fastbg run -- python main.py"),
)
def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="The command of your server, with its options.")
    ] = None,
    follow: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", autocompletion=complete_file, help="Record the size of this file with each response."
        ),
    ] = None,
    directory: Folder = DEFAULT,
    journal_size: JournalSize = 64,
    pth: Annotated[
        bool, typer.Option("--pth", help="Print a line for a .pth file of your environment and exit.")
    ] = False,
) -> None:
    """Run your own server command with the recorder inside. The app does not change."""
    from fastbg.commands.run import pth_line, run

    raise_deferred()
    if pth:
        typer.echo(pth_line())
        return
    if not command:
        raise typer.BadParameter("name the command that starts your server.", param_hint="COMMAND")
    run(command, directory=directory, follow=follow or [], journal_size=journal_size)


@app.command(cls=Command, epilog=examples("fastbg worker --threads 1", "fastbg worker shop:broker shop.tasks"))
def worker(
    tasks: Annotated[
        str, typer.Argument(metavar="BROKER", help="module:attribute of the Taskiq broker.")
    ] = "fastbg.example.queued:broker",
    modules: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE", help="More modules with tasks of this broker.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Number of worker processes.")] = 1,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Tasks in parallel per process.")] = 10,
    broker: Broker = None,
    directory: Folder = DEFAULT,
    record: Record = True,
    journal_size: JournalSize = 64,
    work: Work = 0.5,
) -> None:
    """Run a Taskiq worker for queued tasks, and record them."""
    from fastbg.server.settings import ServerSettings
    from fastbg.services.worker import work as run

    raise_deferred()
    settings = ServerSettings(
        tasks, directory=directory.absolute(), work=work, record=record, journal_size=ceil(journal_size * 2**20)
    )
    raise typer.Exit(run(settings, modules or [], broker, workers=workers, threads=threads))


@app.command(
    cls=Command, epilog=examples("fastbg demo blocking-async", "fastbg demo shop.toml --quiet --junit fastbg.xml")
)
def demo(
    scripts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT",
            autocompletion=complete_script,
            help='A .toml file, a built-in name, or "all". SCRIPT:PART runs one part.',
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Number of repetitions, at most 1000000.")
    ] = 1,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Repetitions in parallel, at most 1000.")
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            callback=finite,
            help="Seconds without any event until a response or a task is given up. Default: 10 + 5 × --work.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run only the requests with this name, and those that they need."),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="Explain each step and wait for a key, as for a class.")] = False,
    application: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APP",
            autocompletion=complete_app,
            rich_help_panel=SERVER,
            help="Serve this file, module or module:attribute, not the script's app.",
        ),
    ] = None,
    app_dir: AppDir = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=SERVER,
            help="Use a running server, such as localhost:8000 or unix:shop.sock, instead of starting one.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON document instead of the report.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", rich_help_panel=OUTPUT, help="Print one line, and one per failure.")
    ] = False,
    save: Save = None,
    junit: Annotated[Path | None, file_option(OUTPUT, "Write a JUnit report for CI servers.")] = None,
    show_list: Annotated[
        bool, typer.Option("--list", rich_help_panel=SCRIPTS, help="List the built-in scripts and exit.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            autocompletion=complete_file,
            rich_help_panel=SCRIPTS,
            help="Write a first script for --app and exit.",
        ),
    ] = None,
    run: Annotated[
        bool,
        typer.Option(
            "--run", rich_help_panel=SCRIPTS, help="With --init: send its requests once, and fill in what was seen."
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", rich_help_panel=SCRIPTS, help="Print the JSON Schema of scripts and exit.")
    ] = False,
    directory: Folder = DEFAULT,
    work: Work = 0.5,
) -> None:
    """Send requests to an app and show which came first: the response or the write."""
    ignore_broken_pipe()
    if show_list or schema or init is not None:
        from fastbg.commands import scripts as helpers

        raise_deferred()  # importing the user's app may block forever
        if init is not None:
            options = helpers.InitOptions(init, application, app_dir, run, directory.absolute(), work)
            raise typer.Exit(helpers.init(options))
        raise typer.Exit(helpers.show_list() if show_list else helpers.show_schema())
    if run:
        raise FastbgError(
            "--run needs a new script", where="--run", remedy="add --init FILE --app APP, or leave out --run"
        )
    from fastbg.commands.demo import demo
    from fastbg.commands.demo_options import DemoOptions

    summary, in_workflow = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_ACTIONS") == "true"
    demo_options = DemoOptions(
        directory.absolute(),
        work,
        tuple(scripts or ()),
        application,
        app_dir,
        url,
        timeout,
        repeat=repeat,
        concurrency=concurrency,
        only=tuple(only or ()),
        step=step,
        as_json=as_json,
        save=tuple(save or ()),
        quiet=quiet,
        junit=junit,
        summary=Path(summary) if summary else None,
        workspace=Path(os.environ.get("GITHUB_WORKSPACE", "")).absolute() if in_workflow else None,
    )
    raise typer.Exit(demo(demo_options))


@app.command(cls=Command, epilog=examples("fastbg show blocking-async", "fastbg show blocking-async --part remedy"))
def show(
    script: Annotated[
        str,
        typer.Argument(
            metavar="SCRIPT",
            autocompletion=complete_script,
            help="A .toml file or a built-in name. SCRIPT:PART shows one part.",
        ),
    ] = "default",
    part: Annotated[str | None, typer.Option(metavar="NAME", help="Show only this part of the script.")] = None,
    directory: Folder = DEFAULT,
) -> None:
    """Show the question of a script, its answer, and the code: trap and remedy are marked."""
    from fastbg.commands.show import show

    raise_deferred()
    ignore_broken_pipe()
    raise typer.Exit(show(script, part, directory.absolute()))


@app.command(cls=Command, epilog=examples("fastbg tail", "fastbg tail shop.log --journal"))
def tail(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            autocompletion=complete_file,
            help="Files to follow. Default: the requests, README.md and log.txt of the data folder.",
        ),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            metavar="N",
            min=0,
            help="Show the last N lines or requests first. Default: 10, on a page 1000.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for new lines.")] = True,
    journal: Annotated[
        bool, typer.Option("--journal", help="With FILE: show the requests of the data folder's journal too.")
    ] = False,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="Show only the files, not the requests of the journal.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object per line.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", rich_help_panel=LIVE_PAGE, help="Serve a live page of the requests instead.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="With --web: address to listen on. Default: 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="With --web: port to listen on. Default: a free one."),
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open", rich_help_panel=LIVE_PAGE, help="Open the page in a browser.")
    ] = False,
    directory: Folder = DEFAULT,
) -> None:
    """Follow requests, responses and what background tasks write, in one stream."""
    from fastbg.commands.tail import TailOptions, tail

    raise_deferred()
    of_page = {"--host": host is not None, "--port": port is not None, "--open": opens}
    for first, second in (
        ({"--journal": journal}, {"--files-only": files_only}),
        ({"--web": web}, {"--files-only": files_only, "--json": as_json, "--no-follow": not follow}),
    ):
        refuse_together(first, second)
    if not web and any(of_page.values()):
        option = next(name for name, given in of_page.items() if given)
        raise FastbgError(f"{option} needs --web", where=option, remedy="add --web")
    page = None
    if web:
        from fastbg.commands.tail_web import WebOptions

        page = WebOptions(host or "127.0.0.1", port or 0, opens)
    named = tuple(files or ())
    wants_requests = journal or web or not (named or files_only)
    wanted = lines if lines is not None else 1000 if web else 10
    raise typer.Exit(tail(TailOptions(directory, named, wants_requests, wanted, follow, as_json, page)))


@app.command(
    cls=Command, epilog=examples("fastbg report --last 5", "fastbg report pod1/journal.jsonl pod2/journal.jsonl")
)
def report(
    context: typer.Context,
    journals: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="JOURNAL",
            autocompletion=complete_file,
            help="Files or folders, or - for standard input. Default: journal.jsonl of the data folder.",
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=10_000,
            help="Show each of the last N requests, at most 10000. Default: 20, in a page 10000.",
        ),
    ] = None,
    save: Save = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON document instead of the report.")
    ] = False,
    trace: Annotated[
        Path | None, file_option(OUTPUT, "Also write all requests as a trace for Perfetto and chrome://tracing.")
    ] = None,
    directory: Folder = DEFAULT,
) -> None:
    """Show what servers recorded in their journals. Sends no requests."""
    from fastbg.commands.report import report

    raise_deferred()
    ignore_broken_pipe()
    source = context.get_parameter_source("directory")
    if journals and source is not None and source.name == "COMMANDLINE":
        raise FastbgError(
            "--dir and JOURNAL cannot be combined",
            where=f"--dir {directory}",
            remedy="name the folder as one more JOURNAL, or leave out --dir",
        )
    raise typer.Exit(
        report(journals or [], data_folder=directory, last=last, as_json=as_json, save=save or (), trace=trace)
    )


@app.command(cls=Command, epilog=examples("fastbg explain evidence", "fastbg explain blocked the event loop"))
def explain(
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC", autocompletion=complete_topic, help="A page, or a word. Default: lists the pages."
        ),
    ] = None,
) -> None:
    """Show a page of the documentation, or what it says about a word."""
    from fastbg.commands.explain import explain

    raise_deferred()
    ignore_broken_pipe()
    raise typer.Exit(explain(" ".join(topic or ())))


def main() -> None:
    """Run the command line. Exit codes: 0 as expected, 1 not as expected, 2 error, 130 interrupted."""
    open_streams()
    ignore_impossible_size()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escapes instead of a crash where not UTF-8
    defer()
    try:
        _run()
    except FastbgError as error:
        report_error(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader has exited: `fastbg tail | head -1`
        drop_output()
        sys.exit(0)
    except OSError as error:
        machine_error = MachineError.from_os_error(error)
        if machine_error is None:
            raise
        if error.errno in CANNOT_WRITE_ERRNOS:
            drop_output()
        report_error(machine_error)
        sys.exit(2)


def _run() -> None:
    """Run the command and flush its output. Raises what the command raises, and `OSError`."""
    try:
        if os.environ.get("_FASTBG_COMPLETE") == "complete_bash":
            from fastbg.commands.completion import complete_in_bash

            complete_in_bash(app)
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _exit_interrupted()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
        raise


def _exit_interrupted() -> NoReturn:
    """Exit with 130. After a Ctrl-C during an import, CPython would kill itself with SIGINT at exit instead."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(INTERRUPTED)
