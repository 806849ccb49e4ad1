"""The environment variables that attach the recorder to the servers of a command."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fastbg.errors import FastbgError

SITE = Path(__file__).parent / "site"  # with sitecustomize.py, and nothing else


def attached(
    environment: Mapping[str, str], run: str, *, directory: Path, follow: Iterable[Path], journal_mib: float
) -> dict[str, str]:
    """Return ``environment`` for a command whose servers are recorded. Raises `FastbgError`.

    ``run``: the id of the command in the journal. ``directory``: the data folder. ``follow``: files whose sizes are
    recorded.
    """
    return {
        **environment,
        "FASTBG_RECORD": "1",
        "FASTBG_RUN": run,
        "FASTBG_DIR": str(directory.absolute()),
        "FASTBG_FOLLOW": _joined(follow),
        "FASTBG_JOURNAL_SIZE": f"{journal_mib:g}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SITE), environment.get("PYTHONPATH")])),
    }


def _joined(paths: Iterable[Path]) -> str:
    absolute = [str(path.absolute()) for path in paths]
    for path in absolute:
        if os.pathsep in path:
            raise FastbgError(
                f"a followed file cannot have {os.pathsep!r} in its path", where=path, remedy="choose another path"
            )
    return os.pathsep.join(absolute)
