"""The options of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastbg.server.log_file import ServerLog
from fastbg.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run from the command line.

    ``directory``: the data folder. ``limit_s``: timeout in seconds for the response, then for the next sign of
    progress; a request can override it. ``base``: server settings before the script is applied. ``environment``: the
    values for ``${env.NAME}``. ``url``: a running server to use instead of a new one. ``repeat``: repetitions of each
    part. ``concurrency``: repetitions in parallel. ``server_log``: keeps the output of the servers that are started.
    """

    directory: Path
    limit_s: float
    base: ServerSettings
    environment: Mapping[str, str]
    url: str | None = None
    repeat: int = 1
    concurrency: int = 1
    server_log: ServerLog | None = None
