"""The data folder: where a server and its background tasks write."""

from pathlib import Path

DEFAULT = Path(".fastbg")


def journal_of(folder: Path) -> Path:
    return folder / "journal.jsonl"


def written_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the files that the tasks of the example app write."""
    return folder / "README.md", folder / "log.txt"
