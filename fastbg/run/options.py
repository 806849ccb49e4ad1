"""How a script is to be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastbg.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says about a run.

    ``directory``: the data folder. ``limit_s``: timeout in seconds for the response, then for the next sign of
    progress; a request may have its own. ``base``: settings of a server of ours, before the script is read.
    ``environment``: for ``${env.NAME}``. ``url``: a running server to ask instead. ``repeat``: repetitions of each
    part; ``concurrency``: how many of them run in parallel.
    """

    directory: Path
    limit_s: float
    base: ServerSettings
    environment: Mapping[str, str]
    url: str | None = None
    repeat: int = 1
    concurrency: int = 1
