"""What a serving process needs to know. It travels in the environment, which all serving processes inherit."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastbg.data_folder import journal_of, written_files
from fastbg.errors import CANNOT_WRITE_ERRNOS, ServerError

EXAMPLE = "fastbg.example:app"
QUEUED_EXAMPLE = "fastbg.example.queued:app"
JOURNAL_SIZE = 64 * 2**20  # bytes

VARIABLE = "FASTBG_SETTINGS"
ROOM = 4096  # bytes that the data folder must have room for when a server starts: some twenty events


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What to serve, and where its files are.

    ``app``: "module:attribute". ``directory``: the data folder, absolute. ``work``: seconds of the example's slow
    job. ``record``: write the journal. ``journal_size``: bytes at which it is rotated, 0 for never. ``files``: the
    files whose sizes the journal records; README.md and log.txt in the data folder if None. ``app_dir``: the folder to
    import the app from. ``run_in``: the working directory of a child process, this one's if None. ``env``: more
    environment variables. ``options``: settings of uvicorn.
    """

    app: str
    directory: Path
    work: float = 0.5
    record: bool = True
    journal_size: int = JOURNAL_SIZE
    files: tuple[Path, ...] | None = None
    app_dir: Path = field(default_factory=Path.cwd)
    run_in: Path | None = None
    env: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def journal(self) -> Path:
        return journal_of(self.directory)

    @property
    def followed(self) -> tuple[Path, ...]:
        return written_files(self.directory) if self.files is None else self.files

    def environment(self) -> dict[str, str]:
        """The environment variables that carry the settings to a serving process, and to the example app."""
        values = {
            "app": self.app,
            "directory": str(self.directory),
            "work": self.work,
            "record": self.record,
            "journal_size": self.journal_size,
            "files": [str(path) for path in self.followed],
            "app_dir": str(self.app_dir),
            "options": self.options,
        }
        ours = {VARIABLE: json.dumps(values), "FASTBG_DIR": str(self.directory), "FASTBG_WORK": str(self.work)}
        return ours | dict(self.env)

    @classmethod
    def from_environment(cls) -> "ServerSettings":
        """Read the settings that `environment` wrote."""
        values: dict[str, Any] = json.loads(os.environ[VARIABLE])
        for key in ("directory", "app_dir"):
            values[key] = Path(values[key])
        values["files"] = tuple(map(Path, values["files"]))
        values["options"] = tuple(map(tuple, values["options"]))
        return cls(**values)

    def make_folder(self) -> None:
        """Make the data folder, and the journal in it, if there is room for some events. Raises `ServerError`."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if self.record:
                with self.journal.open("ab"):
                    pass
                trial = self.directory / f".room-{os.getpid()}-{time.monotonic_ns()}"
                with trial.open("xb") as file:
                    trial.unlink()
                    file.write(bytes(ROOM))
        except OSError as error:
            free_space = "free some disk space there, or " if error.errno in CANNOT_WRITE_ERRNOS else ""
            raise ServerError(
                f"the data folder cannot be written: {error.strerror}",
                where=str(error.filename or self.directory),
                remedy=f"{free_space}choose another folder with --dir",
            ) from None
