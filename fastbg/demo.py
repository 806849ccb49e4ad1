"""``fastbg demo``: runs a script and renders its result.

The server takes longest to start, so it is started first: whatever else is needed is imported while it does.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastbg.cli import report_error
from fastbg.errors import FastbgError
from fastbg.launch import Child
from fastbg.report.files import check_place
from fastbg.serving import EXAMPLE, Settings

if TYPE_CHECKING:
    from fastbg.results import RunResult
    from fastbg.runner import Runner

GRACE_S = 10.0  # how long beyond the scripted work a response or a write may take, unless the user says otherwise
SUFFIXES = (".svg", ".html")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for.

    ``work``, ``timeout``: seconds. ``save``, ``junit``, ``summary``: the files for the picture, for the JUnit report,
    and the one that a summary in Markdown is appended to.
    """

    directory: Path
    work: float
    app: str | None = None
    url: str | None = None
    timeout: float | None = None
    step: bool = False
    as_json: bool = False
    save: Path | None = None
    quiet: bool = False
    junit: Path | None = None
    summary: Path | None = None

    @property
    def limit_s(self) -> float:
        """The time limit of one request; several tasks one after the other have to fit in."""
        return self.timeout if self.timeout is not None else GRACE_S + 5 * self.work

    def check(self) -> None:
        """Raise `FastbgError` for what can be known to be wrong before anything starts."""
        if self.step and self.as_json:
            raise FastbgError(
                "--step talks to people, --json to programs", where="--step --json", remedy="leave one out"
            )
        if self.quiet and (self.as_json or self.step):
            other = "--json" if self.as_json else "--step"
            raise FastbgError(
                f"--quiet prints one line, {other} more", where=f"--quiet {other}", remedy="leave one out"
            )
        if self.url is not None and self.app is not None:
            raise FastbgError(
                "a server that runs already has its app", where=f"--url {self.url} --app", remedy="leave one out"
            )
        if self.url is not None and not urlsplit(self.url).netloc:
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


def demo(wish: Wish) -> int:
    """Run the default script; 0 where everything was as expected, 1 where not. Raises `FastbgError`."""
    wish.check()
    with ExitStack() as stack:
        child = None
        if wish.url is None:
            child = stack.enter_context(Child(Settings(wish.app or EXAMPLE, directory=wish.directory, work=wish.work)))
        from fastbg.runner import Options, Runner
        from fastbg.script import default_script

        runner = Runner(default_script(), Options(wish.directory, wish.limit_s, wish.url), child)
        if wish.as_json or wish.quiet:
            result = _run_silently(runner, as_json=wish.as_json)
        else:
            result = _run_on_screen(runner, step=wish.step)
    _save(result, wish)
    return 0 if result.ok else 1


def _save(result: "RunResult", wish: Wish) -> None:
    """Write each file that was asked for; one that cannot be written keeps no other from it. Raises `FastbgError`."""
    errors = []
    for save in _saves(result, wish):
        try:
            save()
        except FastbgError as error:
            errors.append(error)
    for another in errors[1:]:
        report_error(another)
    if errors:
        raise errors[0]


def _saves(result: "RunResult", wish: Wish) -> Iterator[Callable[[], None]]:
    if wish.save is not None:
        from fastbg.report.picture import save_picture

        yield partial(save_picture, result, wish.save)
    if wish.junit is not None:
        from fastbg.report.junit import save_junit

        yield partial(save_junit, result, wish.junit)
    if wish.summary is not None:
        from fastbg.report.summary import append_summary

        yield partial(append_summary, result, wish.summary)


def _run(runner: "Runner") -> "RunResult":
    """Run to the end; SIGTERM ends it as Ctrl-C does, with the server stopped on the way out."""
    import asyncio

    async def run() -> "RunResult":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this is one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await runner.run()

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


def _run_silently(runner: "Runner", *, as_json: bool) -> "RunResult":
    """Nothing until the end, and then one document, or one line."""
    if as_json:
        import json

        from fastbg.report.document import document

        result = _run(runner)
        json.dump(document(result), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        from fastbg.report.summary import one_line

        result = _run(runner)
        sys.stdout.write(one_line(result) + "\n")
    return result


def _run_on_screen(runner: "Runner", *, step: bool) -> "RunResult":
    from rich.console import Console

    from fastbg.report.console import final
    from fastbg.report.screen import Screen

    console = Console(highlight=False, markup=False, emoji=False)
    screen = Screen(console, runner.result, step=step)
    runner.before = screen.before if step else None
    with screen:
        result = _run(runner)
    console.print(final(result, encoding=console.encoding))
    return result
