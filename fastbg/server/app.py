"""The app factory that uvicorn calls in each serving process, whether it is alone, a worker or reloaded."""

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
    """Return the app that the settings in the environment name, wrapped in the recorder."""
    ignore_broken_pipe("uvicorn.access")
    settings = ServerSettings.from_environment()
    app = _load(settings)
    gc.freeze()  # the collector then skips everything loaded so far: a request costs a tenth less
    recorder = _recorder(app, settings) if settings.record else None
    draining = GracefulShutdown(app if recorder is None else recorder)
    on_second_interrupt(lambda: _exit_at_once(recorder), draining.begin)
    return draining


def _load(settings: ServerSettings) -> Any:
    try:
        return load(settings.app, settings.app_dir)
    except ServerError as error:  # only after a change: the parent loaded it before
        report_error(error)
        sys.exit(STARTUP_FAILURE)


def _recorder(app: Any, settings: ServerSettings) -> "Recorder":
    from fastbg.recorder.instrument import install
    from fastbg.recorder.journal import Journal
    from fastbg.recorder.middleware import Recorder

    install()
    journal = Journal(settings.journal, settings.journal_size)
    if "taskiq" in sys.modules:  # the app uses it
        from fastbg.recorder import taskiq

        taskiq.install(journal, settings.followed)
    return Recorder(app, journal, settings.followed)


def _exit_at_once(recorder: "Recorder | None") -> NoReturn:
    """Exit without waiting for the tasks, and write how many were lost."""
    if recorder is None:
        lost = "without a journal the number of lost background tasks is unknown"
    elif count := recorder.shut_down():
        lost = f"{count} background task{' was' if count == 1 else 's were'} lost"
    else:
        lost = "no background task was lost"
    with suppress(OSError):  # the reader may have gone by the same Ctrl-C
        os.write(2, f"fastbg: process {os.getpid()} exited at once: {lost}\n".encode())
    os._exit(INTERRUPTED)  # threads that run tasks would delay any other exit
