"""The data folder: where a server and its background tasks write."""

from pathlib import Path

DEFAULT = Path(".fastbg")
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
