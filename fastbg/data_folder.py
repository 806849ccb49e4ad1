"""The data folder: where a server and its background tasks write."""

import errno
import stat
from pathlib import Path

DEFAULT = Path(".fastbg")
MAX_JOURNAL_MIB = 2**40  # more than a disk has, and a float can count its bytes
KINDS = (  # of files that are not regular
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
GITIGNORE = "# Created by fastbg.\n*\n"


def make(folder: Path) -> None:
    """Create the data folder, and keep it out of git. An existing folder stays as it is. Raises `OSError`."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        (folder / ".gitignore").write_text(GITIGNORE, encoding="utf-8")


def journal_of(folder: Path) -> Path:
    return folder / "journal.jsonl"


def server_log_of(folder: Path) -> Path:
    """Return the path of the output of the servers that `fastbg demo` starts."""
    return folder / "server.log"


def written_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the files that the tasks of the example app write."""
    return folder / "README.md", folder / "log.txt"


def check_regular(path: Path) -> None:
    """Raise `OSError` if ``path`` exists and is not a regular file.

    To open a named pipe may wait for ever, to open a device may have an effect, and reading one may have no end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    for is_kind, what in KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"this is {what}, not a regular file", str(path))
