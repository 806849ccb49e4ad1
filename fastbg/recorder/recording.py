"""A recording: which app is recorded, in which journal. Its settings may come from environment variables."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Self

from starlette.types import ASGIApp

from fastbg import data_folder
from fastbg.recorder.instrument import acquire
from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder

JOURNAL_MIB = 64.0


@dataclass(frozen=True, slots=True)
class Recording:
    """The settings of a recording.

    ``folder``: the data folder, with the journal. ``journal_size``: bytes at which the journal is rotated, 0 never
    rotates. ``files``: the files whose sizes are recorded. ``all_sizes``: also for requests that have no id of fastbg.
    """

    folder: Path
    journal_size: int = int(JOURNAL_MIB * 2**20)
    files: tuple[Path, ...] = ()
    all_sizes: bool = False

    @staticmethod
    def is_wanted(default: str = "0") -> bool:
        """Return whether ``FASTBG_RECORD`` is set, and neither empty nor 0. ``default``: its value if it is not set."""
        return os.environ.get("FASTBG_RECORD", default) not in ("", "0")

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``FASTBG_DIR``, ``FASTBG_FOLLOW`` and ``FASTBG_JOURNAL_SIZE`` (MiB). Raises `ValueError`."""
        follow = os.environ.get("FASTBG_FOLLOW", "")
        return cls(
            Path(os.environ.get("FASTBG_DIR") or data_folder.DEFAULT).absolute(),
            journal_bytes(float(os.environ.get("FASTBG_JOURNAL_SIZE") or JOURNAL_MIB)),
            tuple(Path(path).absolute() for path in follow.split(os.pathsep) if path),
            all_sizes=bool(follow),
        )

    def recorder(self, app: ASGIApp, *, announce: bool = False) -> Recorder:
        """Return ``app`` in a recorder, and record the tasks of this process.

        ``announce``: record with the first request, or the startup, that this process records. If the data folder
        cannot be written, the app works without a journal, and its log says so.
        """
        with suppress(OSError):  # the journal reports it
            data_folder.make(self.folder)
        acquire()
        journal = Journal(data_folder.journal_of(self.folder), self.journal_size)
        if "taskiq" in sys.modules:  # imported by the app
            from fastbg.recorder import taskiq

            taskiq.install(journal, self.files)
        return Recorder(app, journal, self.files, all_sizes=self.all_sizes, announce=announce)


def journal_bytes(mebibytes: float) -> int:
    """Return the size of a journal in bytes. Raises `ValueError` for a number that is no such size."""
    if not 0 <= mebibytes <= data_folder.MAX_JOURNAL_MIB:
        raise ValueError(f"FASTBG_JOURNAL_SIZE is not a size in MiB: {mebibytes}")
    return ceil(mebibytes * 2**20)
