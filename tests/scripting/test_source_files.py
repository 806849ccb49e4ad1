"""The source files of apps, found and read without importing them."""

import os
import sys
from pathlib import Path

import pytest

from fastbg.scripting.builtin import built_in, whole_script
from fastbg.scripting.reader import read_script
from fastbg.scripting.source_files import AppCode, app_code, find_source

REQUEST = 'request = [{ name = "a", path = "/" }]\n'


def code(folder: Path, text: str) -> AppCode:
    source = read_script(text, "shop.toml", folder, {})
    return app_code(source, source.script.all_parts, {"dir": str(folder / "data")})


def test_file_is_found_in_the_folder_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "main.py").write_text("app = 1\n")
    found = code(tmp_path, 'app = "shop.main:app"\ncode = ["app ="]\n' + REQUEST)
    assert [file.path for file in found.files] == [str(tmp_path / "shop" / "main.py")]
    assert (found.files[0].parts_of(1), found.notes) == (("",), ())


def test_folder_of_the_script_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("first", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop.py").write_text(f"app = {folder!r}\n")
    (tmp_path / "first" / "other.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first")])
    text = 'folder = "${dir}"\napp = "shop:app"\n[[part]]\nname = "a"\n%s[[part]]\nname = "b"\napp = "other:app"\n%s'
    found = code(tmp_path, text % (REQUEST, REQUEST))
    assert [file.path for file in found.files] == [str(tmp_path / "data/shop.py"), str(tmp_path / "first/other.py")]


def test_app_that_is_imported_is_found_where_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "main.py").write_text("from shop import app\n")
    (tmp_path / "shop" / "__init__.py").write_text("from .api import make as app\n")
    (tmp_path / "shop" / "api.py").write_text("def make(): ...\n")
    assert find_source("main:app", [tmp_path]) == tmp_path / "shop" / "api.py"
    assert find_source("main:other", [tmp_path]) == tmp_path / "main.py"


def test_apps_that_import_each_other_are_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from two import app\n")
    (tmp_path / "two.py").write_text("from one import app\n")
    assert find_source("one:app", [tmp_path]) in (tmp_path / "one.py", tmp_path / "two.py")


def test_app_from_elsewhere_is_found_in_its_importer(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from nowhere import app\n")
    assert find_source("main:app", [tmp_path]) == tmp_path / "main.py"


def test_worker_has_its_own_file(tmp_path: Path) -> None:
    for name in ("web", "tasks"):
        (tmp_path / f"{name}.py").write_text("send = 1\n")
    found = code(
        tmp_path, f'[[part]]\nname = "queue"\ncode = ["send"]\napp = "web:app"\nworker = "tasks:broker"\n{REQUEST}'
    )
    assert [Path(file.path).name for file in found.files] == ["web.py", "tasks.py"]
    assert [file.parts_of(1) for file in found.files] == [("queue",), ("queue",)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"# \xff\n", "encoding"), (b"# coding: none\n", "encoding"), (None, "was not found, neither in")],
)
def test_file_that_cannot_be_shown_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "hidden.py").write_bytes(content)
    found = code(tmp_path, 'app = "hidden:app"\ncode = ["x"]\n' + REQUEST)
    (note,) = found.notes
    assert found.files == ()
    assert reason in note
    assert str(tmp_path) in note


def test_encoding_and_line_ends_are_those_of_python(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_bytes("# coding: gbk\r\n# 框架\x0c\r# \u2014\n".encode("gbk"))
    (file,) = code(tmp_path, 'app = "shop:app"\n' + REQUEST).files
    assert file.lines == ("# coding: gbk", "# 框架\x0c", "# \u2014")


def test_entry_that_is_in_no_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("app = 1\n")
    part = '[[part]]\nname = "trap"\ncode = [\n    "app = ",\n    "gone",\n]\n'
    assert code(tmp_path, f'app = "shop:app"\n{part}{REQUEST}').notes == (
        "shop.toml:6: code: 'gone' was not found in the source",
    )


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_script_marks_its_code(name: str) -> None:
    source = whole_script(name, os.environ)
    found = app_code(source, source.script.all_parts, {"dir": "."})
    assert found.notes == ()
    assert all(part.code for part in source.script.all_parts)
    for file in found.files:
        assert Path(file.path).parent.name in ("scripts", "example")
        marked = sum(1 for number in range(1, len(file.lines) + 1) if file.parts_of(number))
        assert 0 < marked < len(file.lines) / 2
