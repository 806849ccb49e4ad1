"""The app factory that uvicorn calls in each server process: a single one, a worker, or one with reload."""

import gc
import sys
from typing import TYPE_CHECKING, Any

from fastbg.errors import STARTUP_FAILURE, ServerError
from fastbg.output import ignore_broken_pipe, report_error
from fastbg.server import shutdown_notices
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

    def begin() -> None:
        graceful.begin()
        if recorder is not None:
            shutdown_notices.begin(recorder)

    on_second_interrupt(lambda: shutdown_notices.exit_at_once(recorder), begin)
    return graceful


def _load(settings: ServerSettings) -> Any:
    try:
        return load(settings.app, settings.app_dir, factory=settings.factory)
    except ServerError as error:  # only after a change of the code: the parent process has already loaded the app
        report_error(error)
        sys.exit(STARTUP_FAILURE)


def _recorder(app: Any, settings: ServerSettings) -> "Recorder":
    from fastbg.recorder.recording import Recording

    # With the sizes `fastbg tail` knows whether a write came before the response; another app writes to other files.
    recording = Recording(settings.directory, settings.journal_size, settings.followed, all_sizes=settings.is_example)
    recorder = recording.recorder(app)
    recorder.announce("uvicorn")
    return recorder
