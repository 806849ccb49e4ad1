"""`record`: the recorder in the user's own code, for whoever does not want `fastbg run`."""

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from fastbg.recorder.recording import Recording, journal_bytes


def record(
    app: Any,
    *,
    directory: str | PathLike[str] | None = None,
    follow: Iterable[str | PathLike[str]] = (),
    journal_size: float | None = None,
) -> Any:
    """Record the background tasks of ``app`` wherever it is served: ``app = record(app)``.

    A FastAPI or Starlette object is returned itself, so that ``fastapi run`` still finds it, and its middleware can
    still be added. Any other ASGI app is returned in a recorder; so ``app.add_middleware(record)`` works as well.

    ``directory``: the data folder, with the journal. ``follow``: files whose sizes are recorded with each response.
    ``journal_size``: MiB at which the journal is rotated, 0 never rotates. The defaults are the environment variables
    ``FASTBG_DIR``, ``FASTBG_FOLLOW`` and ``FASTBG_JOURNAL_SIZE``, then ``.fastbg``, no files and 64.

    With ``FASTBG_RECORD=0`` in the environment ``app`` is not changed. Under ``fastbg run``, ``fastbg serve``,
    ``fastbg demo`` and the pytest fixtures the recorder of these records, and this one does nothing.
    Raises `ValueError` if the journal size is not valid.
    """
    if not Recording.is_wanted(default="1"):
        return app
    recording = Recording.from_environment()
    files = tuple(Path(path).absolute() for path in follow)
    if directory is not None:
        recording = replace(recording, folder=Path(directory).absolute())
    if files:
        recording = replace(recording, files=files, all_sizes=True)
    if journal_size is not None:
        recording = replace(recording, journal_size=journal_bytes(journal_size))
    if not isinstance(app, Starlette):
        return recording.recorder(app, announce=True)
    if app.middleware_stack is not None:  # it has already served
        app.middleware_stack = recording.recorder(app.middleware_stack, announce=True)
        return app
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: recording.recorder(build(), announce=True)  # type: ignore[method-assign]
    return app
