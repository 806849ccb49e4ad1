"""``fastbg demo``: runs a script and renders its result.

The server takes longest to start, so it is started first: whatever else is needed is imported while it does.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastbg.cli import report_error
from fastbg.data_folder import written_files
from fastbg.errors import FastbgError
from fastbg.interrupts import raise_deferred
from fastbg.launch import Child
from fastbg.report.files import check_place
from fastbg.settings import EXAMPLE, Settings
from fastbg.text import safe

if TYPE_CHECKING:
    from fastbg.results import RunResult
    from fastbg.runner import Runner
    from fastbg.script import Source

GRACE_S = 10.0  # how long beyond the scripted work a response or a write may take, unless the user says otherwise
MOST_FILES = 65536
MOST_BARS = 100  # requests; a longer run shows how far it is
SUFFIXES = (".svg", ".html")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for.

    ``scripts``: names and files, none for the default one. ``work``, ``timeout``: seconds. ``save``, ``junit``,
    ``summary``: the files for the picture, for the JUnit report, and the one that a summary in Markdown is appended to.
    """

    directory: Path
    work: float
    scripts: tuple[str, ...] = ()
    app: str | None = None
    url: str | None = None
    timeout: float | None = None
    repeat: int = 1
    concurrency: int = 1
    step: bool = False
    as_json: bool = False
    save: Path | None = None
    quiet: bool = False
    junit: Path | None = None
    summary: Path | None = None

    @property
    def limit_s(self) -> float:
        """The time limit of one request, unless its script has one; several tasks one after the other fit in."""
        return self.timeout if self.timeout is not None else GRACE_S + 5 * self.work

    @property
    def base(self) -> Settings:
        """What is known of a server of ours before the script is read."""
        return Settings(self.app or "", directory=self.directory, work=self.work)

    def check(self) -> None:
        """Raise `FastbgError` for what can be known to be wrong before anything starts."""
        shown = {"--quiet": self.quiet, "--step": self.step, "--json": self.as_json}
        ways = [name for name, wanted in shown.items() if wanted]
        if len(ways) > 1:
            raise FastbgError(
                f"{' and '.join(ways)} show the result in different ways",
                where=" ".join(ways),
                remedy="leave one out",
            )
        if self.step and self.repeat > 1:
            raise FastbgError("--step goes through a script once", where="--step --repeat", remedy="leave one out")
        if self.concurrency > self.repeat:
            raise FastbgError(
                f"--concurrency {self.concurrency} of --repeat {self.repeat}: there are not so many",
                where=f"--concurrency {self.concurrency}",
                remedy=f"repeat the script as often at least: --repeat {self.concurrency}",
            )
        if self.url is not None and self.app is not None:
            raise FastbgError(
                "a server that runs already has its app", where=f"--url {self.url} --app", remedy="leave one out"
            )
        if self.url is not None and not _has_host(self.url):
            raise FastbgError("that is no URL", where=f"--url {self.url}", remedy="write it as http://127.0.0.1:8000")
        if self.save is not None and self.save.suffix not in SUFFIXES:
            raise FastbgError(
                "a picture is an .svg or an .html file",
                where=f"--save {self.save}",
                remedy="end the name in .svg or .html",
            )
        if self.save is not None:
            check_place(self.save, "the picture", f"--save {self.save}")
        if self.junit is not None:
            check_place(self.junit, "the JUnit report", f"--junit {self.junit}")
        if self.summary is not None:
            check_place(self.summary, "the summary for GitHub", f"GITHUB_STEP_SUMMARY={self.summary}")


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).netloc)
    except ValueError:  # half a pair of brackets
        return False


def demo(wish: Wish) -> int:
    """Run the scripts; 0 where everything was as expected, 1 where not. Raises `FastbgError`."""
    wish.check()
    _allow_files()
    sources = _sources(wish.scripts)
    several = len(sources) > 1
    results = [_run_script(source, wish, several=several) for source in sources] or [_run_script(None, wish)]
    _conclude(results, wish)
    _save(results, wish)
    return 0 if all(result.ok for result in results) else 1


def _allow_files() -> None:
    """Let this process and its server open as many files as the machine allows them.

    Each request keeps its connection until its tasks are done, and a shell mostly allows no more than 1024 files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has one more limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _sources(names: Sequence[str]) -> "list[Source]":
    """The scripts of these names; all of them are read before anything starts."""
    if not names:
        return []
    from fastbg.catalogue import ALL, built_in, lacks, script

    wanted = [each for name in names for each in (built_in() if name == ALL else [name])]
    sources = [script(name, os.environ) for name in dict.fromkeys(wanted)]
    for source in [source for source in sources if ALL in names and lacks(source, os.environ)]:
        sources.remove(source)
        sys.stderr.write(safe(f"fastbg: {source.name} is left out, it needs more: {lacks(source, os.environ)}") + "\n")
    return sources


def _run_script(source: "Source | None", wish: Wish, *, several: bool = False) -> "RunResult":
    """Run one script, the default one where there is none."""
    with ExitStack() as stack:
        child = None
        if source is None and wish.url is None:  # the default script's server, which can start before that is read
            child = stack.enter_context(Child(_default_settings(wish)))
        from fastbg.catalogue import DEFAULT, script
        from fastbg.options import RunOptions
        from fastbg.runner import Runner

        source = source or script(DEFAULT, os.environ)
        options = RunOptions(
            wish.directory,
            wish.timeout or source.script.timeout or wish.limit_s,
            base=wish.base,
            environment=os.environ,
            url=wish.url,
            repeat=wish.repeat,
            concurrency=wish.concurrency,
        )
        runner = Runner(source, options, child)
        if wish.as_json or wish.quiet:
            return _run(runner)
        return _run_on_screen(runner, step=wish.step, brief=several)


def _conclude(results: "list[RunResult]", wish: Wish) -> None:
    """What is to be shown at the very end."""
    if wish.as_json:
        import json

        from fastbg.report.document import document

        json.dump(document(results), sys.stdout, allow_nan=False, indent=2)
        sys.stdout.write("\n")
    elif wish.quiet:
        from fastbg.report.summary import one_line

        sys.stdout.write(one_line(results) + "\n")
    elif len(results) > 1:
        from fastbg.report.console import overview, plain_console

        console = plain_console()
        console.print(overview(results, encoding=console.encoding))


def _default_settings(wish: Wish) -> Settings:
    base = replace(wish.base, files=written_files(wish.directory))
    return base if base.app else replace(base, app=EXAMPLE, app_dir=wish.directory, run_in=wish.directory)


def _save(results: "list[RunResult]", wish: Wish) -> None:
    """Write each file that was asked for; one that cannot be written keeps no other from it. Raises `FastbgError`."""
    errors = []
    for save in _saves(results, wish):
        try:
            save()
        except FastbgError as error:
            errors.append(error)
    for another in errors[1:]:
        report_error(another)
    if errors:
        raise errors[0]


def _saves(results: "list[RunResult]", wish: Wish) -> Iterator[Callable[[], None]]:
    if wish.save is not None:
        from fastbg.report.picture import save_picture

        yield partial(save_picture, results, wish.save)
    if wish.junit is not None:
        from fastbg.report.junit import save_junit

        yield partial(save_junit, results, wish.junit)
    if wish.summary is not None:
        from fastbg.report.summary import append_summary

        yield partial(append_summary, results, wish.summary)


def _run(runner: "Runner") -> "RunResult":
    """Run to the end; SIGTERM, or a terminal that is closed, ends it as Ctrl-C does: the server is stopped first."""
    import asyncio

    came: list[signal.Signals] = []

    async def run() -> "RunResult":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this is one

        def end(number: signal.Signals) -> None:
            came.append(number)
            if len(came) == 1:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                asyncio.get_running_loop().add_signal_handler(number, end, number)
        return await runner.run()

    raise_deferred()
    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(128 + came[0])


def _run_on_screen(runner: "Runner", *, step: bool, brief: bool) -> "RunResult":
    from fastbg.report.console import final, plain_console
    from fastbg.report.screen import Screen

    console = plain_console()
    progress = runner.progress if runner.total > MOST_BARS else None
    screen = Screen(console, runner.result, step=step, progress=progress)
    runner.before = screen.before if step else None
    with screen:
        result = _run(runner)
    console.print(final(result, encoding=console.encoding, brief=brief))
    return result
