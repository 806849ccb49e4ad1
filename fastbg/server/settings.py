"""The settings of a server process. They are passed in an environment variable, which all server processes inherit."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from fastbg.clock import monotonic_ns
from fastbg.data_folder import check_regular, journal_of, make, written_files
from fastbg.errors import CANNOT_WRITE_ERRNOS, ServerError

EXAMPLE = "fastbg.example:app"
QUEUED_EXAMPLE = "fastbg.example.queued:app"
JOURNAL_SIZE = 64 * 2**20  # bytes

VARIABLE = "FASTBG_SETTINGS"
PORT_MARK = "\0"  # stands for the port in `command`: no argument of a program can contain it
MIN_FREE_BYTES = 4096  # that a server needs in its data folder to start: about twenty events


def is_variable_name(name: str) -> bool:
    """Return whether the operating system takes ``name`` as the name of an environment variable."""
    return bool(name) and "=" not in name and "\0" not in name


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The app to serve, and the paths of its files.

    ``app``: "module:attribute". ``directory``: the data folder, absolute. ``work``: seconds of the example's slow job.
    ``record``: write the journal. ``journal_size``: bytes at which it is rotated, 0 never rotates. ``files``: the files
    whose sizes the journal records, None for README.md and log.txt in the data folder. ``app_dir``: the folder to
    import the app from. ``factory``: the app is a function that returns the app. ``run_in``: the working directory of a
    child process, None for the current one. ``env``: more environment variables. ``options``: of uvicorn, for a child
    process. ``command``: starts the user's own server; ``app`` may then be empty. `PORT_MARK` in
    it and in ``env`` is the port.
    """

    app: str
    directory: Path
    work: float = 0.5
    record: bool = True
    journal_size: int = JOURNAL_SIZE
    files: tuple[Path, ...] | None = None
    app_dir: Path = field(default_factory=Path.cwd)
    factory: bool = False
    run_in: Path | None = None
    env: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command of the user's server, or the name of the app."""
        return " ".join(self.command).replace(PORT_MARK, "PORT") or self.app

    @property
    def journal(self) -> Path:
        return journal_of(self.directory)

    @property
    def is_example(self) -> bool:
        return self.app in (EXAMPLE, QUEUED_EXAMPLE)

    @property
    def followed(self) -> tuple[Path, ...]:
        return written_files(self.directory) if self.files is None else self.files

    def with_variable(self, name: str, value: str) -> Self:
        """Return these settings with one more environment variable."""
        return replace(self, env=(*self.env, (name, value)))

    def environment(self) -> dict[str, str]:
        """Return the environment variables that pass the settings to a server process and to the example app."""
        values = {
            "app": self.app,
            "directory": str(self.directory),
            "work": self.work,
            "record": self.record,
            "journal_size": self.journal_size,
            "files": [str(path) for path in self.followed],
            "app_dir": str(self.app_dir),
            "factory": self.factory,
            "options": self.options,
        }
        variables = {
            VARIABLE: json.dumps(values),
            "FASTBG_DIR": str(self.directory),
            "FASTBG_WORK": str(self.work),
            "FASTBG_RECORD": "0",  # this server has its own recorder
        }
        return variables | dict(self.env)

    @classmethod
    def from_environment(cls) -> "ServerSettings":
        values: dict[str, Any] = json.loads(os.environ[VARIABLE])
        for key in ("directory", "app_dir"):
            values[key] = Path(values[key])
        values["files"] = tuple(map(Path, values["files"]))
        values["options"] = tuple(map(tuple, values["options"]))
        return cls(**values)

    def make_folder(self) -> None:
        """Create the data folder and the journal, and check the free disk space. Raises `ServerError`."""
        try:
            make(self.directory)
            if self.record:
                check_regular(self.journal)
                with self.journal.open("ab"):
                    pass
                trial = self.directory / f".free-space-{os.getpid()}-{monotonic_ns()}"
                with trial.open("xb") as file:
                    trial.unlink()
                    file.write(bytes(MIN_FREE_BYTES))
        except OSError as error:
            free_space = "free some disk space there, or " if error.errno in CANNOT_WRITE_ERRNOS else ""
            raise ServerError(
                f"the data folder cannot be written: {error.strerror}",
                where=str(error.filename or self.directory),
                remedy=f"{free_space}choose another folder with --dir",
            ) from None
