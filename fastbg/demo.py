"""``fastbg demo``: runs a script and renders its result."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from rich.console import Console

from fastbg.errors import FastbgError
from fastbg.report.console import final
from fastbg.report.document import document
from fastbg.report.picture import check_picture, save_picture
from fastbg.report.screen import Screen
from fastbg.results import RunResult
from fastbg.runner import Options, Runner
from fastbg.script import default_script


def demo(options: Options, *, step: bool = False, as_json: bool = False, save: Path | None = None) -> int:
    """Run the default script; 0 where everything was as expected, 1 where not. Raises `FastbgError`."""
    if step and as_json:
        raise FastbgError("--step talks to people, --json to programs", where="--step --json", remedy="leave one out")
    if options.url is not None and not urlsplit(options.url).netloc:
        raise FastbgError("that is no URL", where=f"--url {options.url}", remedy="write it as http://127.0.0.1:8000")
    if save is not None:
        check_picture(save)
    signal.signal(signal.SIGTERM, _terminate)
    runner = Runner(default_script(), options)
    result = _run_silently(runner) if as_json else _run_on_screen(runner, step=step)
    if save is not None:
        save_picture(result, save)
    return 0 if result.ok else 1


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # on its way out it stops the server


def _run_silently(runner: Runner) -> RunResult:
    result = asyncio.run(runner.run())
    json.dump(document(result), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    return result


def _run_on_screen(runner: Runner, *, step: bool) -> RunResult:
    console = Console(highlight=False, markup=False, emoji=False)
    screen = Screen(console, runner.result, step=step)
    runner.before = screen.before if step else None
    with screen:
        result = asyncio.run(runner.run())
    console.print(final(result, encoding=console.encoding))
    return result
