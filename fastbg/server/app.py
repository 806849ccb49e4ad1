"""The app factory that uvicorn calls in each server process: a single one, a worker, or one with reload."""

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from fastbg.errors import INTERRUPTED, STARTUP_FAILURE, ServerError
from fastbg.output import ignore_broken_pipe, report_error
from fastbg.server.importer import load
from fastbg.server.settings import ServerSettings
from fastbg.server.shutdown import GracefulShutdown
from fastbg.server.signals import on_second_interrupt

if TYPE_CHECKING:
    from fastbg.recorder.middleware import Recorder

FACTORY = f"{__name__}:application"


def application() -> Any:
    """Load the app of the settings in the environment, and wrap it in the recorder."""
    ignore_broken_pipe("uvicorn.access")
    settings = ServerSettings.from_environment()
    app = _load(settings)
    gc.freeze()  # the collector then skips all modules loaded so far: a request takes a tenth less time
    recorder = _recorder(app, settings) if settings.record else None
    graceful = GracefulShutdown(app if recorder is None else recorder)
    on_second_interrupt(lambda: _exit_at_once(recorder), graceful.begin)
    return graceful


def _load(settings: ServerSettings) -> Any:
    try:
        return load(settings.app, settings.app_dir)
    except ServerError as error:  # only after a change of the code: the parent process has already loaded the app
        report_error(error)
        sys.exit(STARTUP_FAILURE)


def _recorder(app: Any, settings: ServerSettings) -> "Recorder":
    from fastbg.recorder.instrument import install
    from fastbg.recorder.journal import Journal
    from fastbg.recorder.middleware import Recorder

    install()
    journal = Journal(settings.journal, settings.journal_size)
    if "taskiq" in sys.modules:  # imported by the app
        from fastbg.recorder import taskiq

        taskiq.install(journal, settings.followed)
    # With the sizes `fastbg tail` knows whether a write came before the response; another app writes to other files.
    return Recorder(app, journal, settings.followed, all_sizes=settings.is_example)


def _exit_at_once(recorder: "Recorder | None") -> NoReturn:
    if recorder is None:
        lost = "without a journal the number of lost background tasks is unknown"
    elif count := recorder.shut_down():
        lost = f"{count} background task{' was' if count == 1 else 's were'} lost"
    else:
        lost = "no background task was lost"
    with suppress(OSError):  # the same Ctrl-C may have ended the reader
        os.write(2, f"fastbg: process {os.getpid()} exited immediately: {lost}\n".encode())
    os._exit(INTERRUPTED)  # sys.exit would wait for the threads that run tasks
