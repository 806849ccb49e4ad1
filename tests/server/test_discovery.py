"""Finding an app: by a file, a folder or a module, then by its attribute."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette

from fastbg.errors import ServerError
from fastbg.server import importer
from fastbg.server.discovery import app_attribute, import_folder, is_factory, locate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = ["shop.py", "my-app.py", "plain/main.py", "plain/api.py", "package/__init__.py", "package/deep/__init__.py"]
    files += ["package/deep/main.py", "src/inner/__init__.py", "src/inner/main.py", "src/single.py", "data/notes.txt"]
    files += ["src/shop.py", "src/data/__init__.py", "spaces/part/module.py"]
    for name in files:
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "target", "where"),
    [
        ("shop", "shop", ""),
        ("shop:app", "shop:app", ""),
        ("shop.py", "shop", ""),
        ("shop.py:make.app", "shop:make.app", ""),
        ("./shop.py", "shop", ""),
        ("plain/../shop.py", "shop", ""),
        ("my-app.py", "my-app", ""),
        ("plain/main.py", "main", "plain"),
        ("plain/", "main", "plain"),
        ("package/deep/main.py:app", "package.deep.main:app", ""),
        ("package/deep/__init__.py", "package.deep", ""),
        ("package/deep", "package.deep", ""),
        ("package.deep:app", "package.deep:app", ""),
        ("src/inner/main.py", "inner.main", "src"),
        ("inner.main:app", "inner.main:app", "src"),
        ("single", "single", "src"),
        ("data", "data", "src"),  # the other folder of that name contains no Python
        ("fastbg.example:app", "fastbg.example:app", ""),
    ],
)
def test_module_and_its_folder_are_found(name: str, target: str, where: str, folder: Path) -> None:
    location = locate(name)
    assert (location.target, location.folder) == (target, folder / where)


def test_absolute_path_is_found_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    location = locate(f"{folder}/src/inner/main.py:app")
    assert (location.target, location.folder) == ("inner.main:app", folder / "src")


@pytest.mark.parametrize("name", ["spaces/part/module.py", "part/module.py", "part.module"])
def test_app_dir_is_the_folder_to_import_from(name: str, folder: Path) -> None:
    location = locate(name, Path("spaces"))
    assert (location.target, location.folder) == ("part.module", folder / "spaces")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("none.py", "the file none.py does not exist"),
        ("plain/none.py:app", "the file plain/none.py does not exist"),
        ("data/", "the folder has no main.py, app.py, api.py, and is not a package"),
        ("data/notes.txt", "not a Python file"),
    ],
)
def test_what_is_not_there_is_an_error(name: str, what: str, folder: Path) -> None:
    with pytest.raises(ServerError) as caught:
        locate(name)
    assert caught.value.what == what


# The attribute


def module(**values: Any) -> ModuleType:
    made = ModuleType("shop")
    vars(made).update(values)
    return made


def create_app(debug: bool = False) -> FastAPI:
    return FastAPI(debug=debug)


APP = FastAPI()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"app": APP, "api": FastAPI(), "other": FastAPI()}, "app"),
        ({"api": APP, "other": FastAPI()}, "api"),
        ({"app": ModuleType("shop.app"), "api": APP}, "api"),
        ({"app": lambda scope, receive, send: None, "inner": APP}, "app"),  # wrapped in middleware
        ({"app": print, "api": APP}, "api"),
        ({"api": APIRouter(), "application": APP}, "application"),
        ({"FastAPI": FastAPI, "service": Starlette()}, "service"),
        ({"service": APP, "alias": APP}, "service"),
        ({"create_app": create_app}, "create_app"),
        ({"create_app": lambda settings: None, "x": 3}, None),
    ],
)
def test_attribute_is_found_in_the_order_of_the_rules(values: dict[str, Any], name: str | None) -> None:
    assert app_attribute(module(**values)) == name


def test_several_apps_are_an_error_that_names_them() -> None:
    with pytest.raises(ServerError) as caught:
        app_attribute(module(public=FastAPI(), admin=FastAPI()))
    assert caught.value.what == "shop has several apps: admin, public"
    assert caught.value.remedy == "name one of them: shop:admin or shop:public"


# The import


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A package whose module main counts its imports. It is forgotten afterwards."""
    (tmp_path / "counted").mkdir()
    (tmp_path / "counted" / "__init__.py").touch()
    (tmp_path / "counted" / "main.py").write_text(
        "from fastapi import FastAPI\nservice = FastAPI()\nwith open('imports', 'a') as file:\n    file.write('x')\n"
    )
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "counted"]:
        del sys.modules[name]


def test_app_in_a_module_of_its_package_is_imported_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(package)
    app = importer.load("counted", package)
    assert isinstance(app, FastAPI)
    assert importer.full_name("counted", package) == "counted.main:service"
    assert importer.load("counted.main:service", package) is app
    assert (package / "imports").read_text() == "x"
    assert os.fspath(package) == sys.path[0]


@pytest.mark.parametrize(
    ("code", "target", "where"),
    [
        ("from plain.api import app", "plain.main", ""),
        ("def late():\n    import plain.api", "plain.main", ""),
        ("from .api import app", "main", "plain"),
        ("import plainer, api  # from plain", "main", "plain"),
    ],
)
def test_file_that_imports_its_folder_is_in_a_package(code: str, target: str, where: str, folder: Path) -> None:
    (folder / "plain" / "main.py").write_text(code)
    location = locate("plain/main.py:app", None)
    assert (location.target, location.folder) == (f"{target}:app", folder / where)


def test_folder_with_the_name_of_an_installed_module_is_none(folder: Path) -> None:
    for name in ("json", "fastapi"):
        (folder / name).mkdir()
        (folder / name / "main.py").write_text(f"import {name}")
        assert locate(f"{name}/main.py").target == "main"


@pytest.mark.parametrize("on_path", [False, True], ids=["unknown", "on the path"])
def test_package_without_init_in_src_is_imported_from_src(
    on_path: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, *([str(folder / "src")] if on_path else [])])
    (folder / "src" / "space").mkdir()
    (folder / "src" / "space" / "main.py").write_text("import space.other")
    location = locate("src/space/main.py")
    assert (location.target, location.folder) == ("space.main", folder / "src")


def test_module_in_src_is_found_by_its_whole_name(folder: Path) -> None:
    for name in ("src/other/main.py", "other/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert import_folder("other.main:app", folder) == folder / "src"
    assert import_folder("spaces.part.module", folder) == folder


@pytest.mark.parametrize(
    ("code", "where", "remedy"),
    [
        ("import common", "lib/common.py", "common is in the folder {}/lib: add it to PYTHONPATH"),
        ("import common.deep", "src/common/deep.py", "common is in the folder {}/src: add it to PYTHONPATH"),
        (
            "import common",
            "deep/deeper/common.py",
            "install common where fastbg is installed ({prefix}), add its folder",
        ),
    ],
)
def test_module_near_the_app_is_named_with_what_to_do(
    code: str, where: str, remedy: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / where).parent.mkdir(parents=True, exist_ok=True)
    (folder / where).touch()
    (folder / "asking.py").write_text(code)
    with pytest.raises(ServerError) as caught:
        importer.load("asking:app", folder)
    assert caught.value.remedy.startswith(remedy.format(folder, prefix=sys.prefix))


def test_app_in_a_folder_below_is_named_with_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / "backend" / "own_api").mkdir(parents=True)
    (folder / "backend" / "own_api" / "main.py").touch()
    with pytest.raises(ServerError) as caught:
        importer.load("own_api.main:app", folder)
    assert caught.value.remedy.startswith(f"own_api is in the folder {folder}/backend: name it with --app-dir")
    with pytest.raises(ServerError, match="the module nowhere does not exist") as caught:
        importer.load("nowhere:app", folder)
    assert "name the folder with --app-dir or in PYTHONPATH" in caught.value.remedy


@pytest.mark.parametrize(
    ("code", "app", "what"),
    [
        ("raise GeneratorExit('no')", "app", "the module odd_0 could not be loaded: GeneratorExit: no"),
        (
            "class Mute(Exception):\n    def __str__(self): raise SystemExit(7)\nraise Mute",
            "app",
            "the module odd_1 could not be loaded: Mute",
        ),
        ("def app(): raise SystemExit(4)", "app", "app() of odd_2 could not be loaded: SystemExit: 4"),
        ("def __getattr__(name): raise ValueError(name)", "app", "app of odd_3 could not be loaded: ValueError: app"),
        ("def __getattr__(name): raise ValueError(name)", "", "the module odd_4 could not be loaded: ValueError: app"),
        ("app = None", "app.inner", "the app odd_5:app.inner does not exist: the NoneType object has no attribute"),
        (
            "class Proxy:\n    def __call__(self): ...\n    def __getattr__(self, name): raise RuntimeError(name)\n"
            "app = Proxy()",
            "app.inner",
            "app.inner of odd_6 could not be loaded: RuntimeError: inner",
        ),
    ],
)
def test_what_the_code_of_the_user_raises_is_an_error(
    code: str, app: str, what: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = re.findall(r"odd_\d", what)[0]
    (folder / f"{name}.py").write_text(code)
    with pytest.raises(ServerError) as error:
        importer.load(f"{name}:{app}" if app else name, folder)
    assert error.value.what.startswith(what)


def test_object_whose_attributes_raise_is_no_factory() -> None:
    class Proxy:
        def __call__(self) -> None: ...

        def __getattr__(self, name: str) -> None:
            raise RuntimeError(name)

    assert not is_factory(Proxy())


def test_folder_that_cannot_be_read_has_no_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ServerError, match="the module nowhere does not exist"):
        importer.load("nowhere:app", folder / (256 * "x"))
