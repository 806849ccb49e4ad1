"""What is added to the files in a folder."""

from pathlib import Path

import pytest

from fastbg.run import folder_changes
from fastbg.run.folder_changes import MAX_TEXT, FolderChanges


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "old.log").write_text("before\n")
    return tmp_path


def write(path: Path, text: str, mode: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.write(text)


def test_only_new_text_is_found_and_only_once(folder: Path) -> None:
    changes = FolderChanges(folder, folder / ".fastbg")
    assert changes.added() == []
    write(folder / "logs" / "old.log", "中\n")
    write(folder / "new.txt", "new")
    assert changes.added() == [("logs/old.log", "中\n"), ("new.txt", "new")]
    write(folder / "new.txt", "er")
    assert changes.added() == [("new.txt", "er")]


def test_rewritten_and_replaced_files_are_new(folder: Path) -> None:
    changes = FolderChanges(folder, folder)
    write(folder / "logs" / "old.log", "now", "w")
    write(folder / "other", "much longer than it was before")
    assert changes.added()[0] == ("logs/old.log", "now")
    write(folder / "temporary", "another file that is longer than the one that it replaces")
    (folder / "temporary").replace(folder / "other")
    assert changes.added() == [("other", "another file that is longer than the one that it replaces")]


@pytest.mark.parametrize(
    "path", [".hidden", ".git/x", "__pycache__/x", "node_modules/a/x", "venv/lib/x", "data/journal.jsonl"]
)
def test_files_of_tools_are_skipped(path: str, folder: Path) -> None:
    write(folder / "venv" / "pyvenv.cfg", "")
    changes = FolderChanges(folder, folder / "data")
    write(folder / path, "x")
    assert changes.added() == []


def test_what_is_not_a_short_text_is_skipped(folder: Path) -> None:
    changes = FolderChanges(folder, folder / ".fastbg")
    (folder / "picture").write_bytes(b"\xff\xd8")
    (folder / "database").write_bytes(b"SQLite\0")
    (folder / "long").write_text("x" * (MAX_TEXT + 1))
    (folder / "link").symlink_to("missing")
    assert changes.added() == []
    write(folder / "long", "y")
    assert changes.added() == [("long", "y")]


def test_large_folder_is_searched_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_changes, "MAX_ENTRIES", 3)
    changes = FolderChanges(folder, folder / ".fastbg")
    for number in range(5):
        write(folder / f"{number}.txt", "x")
    assert 0 < len(changes.added()) < 5
