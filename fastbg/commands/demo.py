"""``fastbg demo``: runs scripts and renders their results.

The server takes the longest to start, so it is started first. The other modules are imported meanwhile.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.commands.demo_options import DemoOptions
from fastbg.commands.demo_sources import check_example, drafted_source, init_command, named_sources
from fastbg.data_folder import server_log_of, written_files
from fastbg.errors import INTERRUPTED, FastbgError
from fastbg.interrupts import raise_deferred
from fastbg.output import notify, report_error
from fastbg.report.files import PAGE
from fastbg.server.log_file import ServerLog
from fastbg.server.process import ServerProcess
from fastbg.server.settings import EXAMPLE, ServerSettings
from fastbg.text import escape_control

if TYPE_CHECKING:
    from fastbg.evidence.results import RunResult
    from fastbg.run.runner import Runner
    from fastbg.scripting.reader import Source
    from fastbg.scripting.source_files import AppCode

    Save = Callable[[Sequence[RunResult], Path], None]

MAX_FILES = 65536
MAX_BARS = 100  # requests; a longer run shows progress bars instead


def demo(options: DemoOptions) -> int:
    """Run the scripts. Returns 0 if everything was as expected, else 1. Raises `FastbgError`."""
    options.check()
    _allow_files()
    sources, options, hint = _sources(options)
    with closing(ServerLog(server_log_of(options.directory))) as log:
        results = _run_scripts(sources, options, log)
    _write_result(results, options, hint, scripts=len(sources))
    _save(results, options, sources)
    return results[-1].interrupted or (0 if all(result.ok for result in results) else 1)


def _allow_files() -> None:
    """Raise the limit of open files for this process and its server.

    Each request keeps its connection until its tasks are done, but most shells allow only 1024 files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower limit that it does not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _sources(options: DemoOptions) -> "tuple[Sequence[Source | None], DemoOptions, str | None]":
    """Return the scripts (None: the default one), the options for them, and a hint to print at the end, or None."""
    if options.scripts or (options.only and options.app is None):
        return named_sources(options.scripts, options.only), options, None
    if options.app is not None:
        source, known = drafted_source(options)
        return [source], known, f"Write these requests to a script: {init_command(options)}"
    if options.server_url is not None:
        check_example(options.server_url)
    return [None], options, None


def _run_scripts(sources: "Sequence[Source | None]", options: DemoOptions, log: ServerLog) -> "list[RunResult]":
    """Run the scripts until the last one, or until the user quits."""
    results: list[RunResult] = []
    for source in sources:
        results.append(_run_script(source, options, log, several=len(sources) > 1))
        if results[-1].quit or results[-1].interrupted:
            break
    return results


def _run_script(source: "Source | None", options: DemoOptions, log: ServerLog, *, several: bool) -> "RunResult":
    """Run ``source``, or the default script if None."""
    with ExitStack() as stack:
        child = None
        if source is None and options.url is None:  # this server can start before the default script is read
            child = stack.enter_context(ServerProcess(_default_settings(options)))
        from fastbg.run.options import RunOptions
        from fastbg.run.runner import Runner
        from fastbg.scripting.builtin import DEFAULT, script

        source = source or script(DEFAULT, os.environ)
        run_options = RunOptions(
            options.directory,
            options.timeout or source.script.timeout or options.limit_s,
            base=options.base,
            environment=os.environ,
            url=options.server_url,
            repeat=options.repeat,
            concurrency=options.concurrency,
            server_log=log,
        )
        runner = Runner(source, run_options, child)
        if options.as_json or options.quiet:
            return run_to_end(runner)
        return _run_on_screen(runner, step=options.step, brief=several)


def _write_result(
    results: "list[RunResult]", options: DemoOptions, hint: str | None = None, *, scripts: int = 1
) -> None:
    if options.as_json:
        import json

        from fastbg.report.document import document

        json.dump(document(results), sys.stdout, allow_nan=False, indent=2)
        sys.stdout.write("\n")
    elif options.quiet:
        from fastbg.report.failures import failure_lines
        from fastbg.report.summary import one_line

        for run in results:
            if run.warning:
                notify(f"fastbg: {run.warning}")
        sys.stdout.writelines(f"{line}\n" for line in (*failure_lines(results), one_line(results)))
    elif len(results) > 1:
        from fastbg.report.console import overview
        from fastbg.report.style import plain_console

        console = plain_console()
        console.print(overview(results, encoding=console.encoding, more=scripts - len(results)))
    elif hint:
        sys.stdout.write(escape_control(hint) + "\n")
    if options.workspace is not None:
        from fastbg.report.failures import annotations

        output = sys.stderr if options.as_json else sys.stdout  # GitHub reads both
        output.writelines(f"{line}\n" for line in annotations(results, options.workspace))


def _default_settings(options: DemoOptions) -> ServerSettings:
    folder = options.directory
    return replace(options.base, app=EXAMPLE, app_dir=folder, run_in=folder, files=written_files(folder))


def _save(results: "list[RunResult]", options: DemoOptions, sources: "Sequence[Source | None]") -> None:
    """Write all requested files, even if one fails. Raises `FastbgError` for the first that fails."""
    errors = []
    for path, save in _saves(options, sources[: len(results)]):
        try:
            save(results, path)
        except FastbgError as error:
            errors.append(error)
        else:
            if path != options.summary and not options.quiet:
                notify(f"Saved {path}")
    for other in errors[1:]:
        report_error(other)
    if errors:
        raise errors[0]


def _saves(options: DemoOptions, sources: "Sequence[Source | None]") -> "Iterator[tuple[Path, Save]]":
    """Yield each requested file, and the function that writes it. ``sources``: of the runs."""
    for path in options.save:
        if path.suffix != PAGE:
            from fastbg.report.picture import save_picture

            yield path, save_picture
        else:
            from fastbg.page.run_page import save_page

            yield path, partial(save_page, code=[_code(source, options) for source in sources])
    if options.junit is not None:
        from fastbg.report.junit import save_junit

        yield options.junit, save_junit
    if options.summary is not None:
        from fastbg.report.summary import append_summary

        yield options.summary, append_summary


def _code(source: "Source | None", options: DemoOptions) -> "AppCode":
    """Return the source files of the apps of a script, of the default one if None."""
    from fastbg.scripting.builtin import DEFAULT, script
    from fastbg.scripting.source_files import app_code

    source = source or script(DEFAULT, os.environ)
    known = {"dir": str(options.directory), **{f"env.{name}": value for name, value in os.environ.items()}}
    return app_code(source, source.script.all_parts, known)


def run_to_end(runner: "Runner") -> "RunResult":
    """Run to the end. Ctrl-C, SIGTERM and SIGHUP stop the server, and end the run with what was seen."""
    import asyncio

    received: list[signal.Signals] = []

    async def run() -> "RunResult":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # for mypy: a coroutine of asyncio.run is a task

        def stop(number: signal.Signals) -> None:
            received.append(number)
            if len(received) == 1:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                asyncio.get_running_loop().add_signal_handler(number, stop, number)
        return await runner.run()

    raise_deferred()
    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        return runner.result(interrupted=INTERRUPTED)
    except asyncio.CancelledError:
        return runner.result(interrupted=128 + received[0])


def _run_on_screen(runner: "Runner", *, step: bool, brief: bool) -> "RunResult":
    from fastbg.report.console import final
    from fastbg.report.pauses import source_of
    from fastbg.report.screen import Screen
    from fastbg.report.style import plain_console

    console = plain_console()
    progress = runner.progress if runner.total > MAX_BARS else None
    screen = Screen(console, runner.result, partial(source_of, runner.source), step=step, progress=progress)
    runner.pause = screen.pause if step else None
    with screen:
        result = run_to_end(runner)
    console.print(final(result, encoding=console.encoding, brief=brief))
    return result
