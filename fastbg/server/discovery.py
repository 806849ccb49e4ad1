"""Finds an app by the name of its file, folder or module, with the rules of ``fastapi dev``.

`locate` finds the module and the folder to import it from, without an import. `app_attribute` finds the app in the
imported module.
"""

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from fastbg.errors import ServerError
from fastbg.text import did_you_mean

PREFERRED = ("app", "api")
FACTORY = "create_app"
MODULES = ("main", "app", "api")  # of a folder or a package that contains no app itself
_IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
EXPECTED = "write it as module:attribute, for example `main:app` for the `app` in main.py"


@dataclass(frozen=True, slots=True)
class AppLocation:
    """``target``: "module:attribute", or "module" if the attribute is to be found. ``folder``: to import it from."""

    target: str
    folder: Path


def locate(name: str, app_dir: Path | None = None) -> AppLocation:
    """Return where the app ``name`` is: a module, a file or a folder, optionally with ``:attribute``.

    ``app_dir``: folder to import it from. None: the folder above the outermost package of a file; for a module the
    current folder, or its folder ``src`` if only that contains the module. Raises `ServerError`.
    """
    place, colon, attribute = name.partition(":")
    try:
        if "/" in place or place.endswith(".py"):
            module, folder = _of_path(place, app_dir and app_dir.absolute())
        else:
            module, folder = place, app_dir.absolute() if app_dir else import_folder(place, Path.cwd())
    except OSError as error:
        raise ServerError(
            f"the app cannot be found: {error.strerror}", where=str(error.filename or place), remedy=EXPECTED
        ) from None
    return AppLocation(module + colon + attribute, folder)


def _of_path(text: str, app_dir: Path | None) -> tuple[str, Path]:
    """Return the module of a file or folder, and the folder to import it from."""
    path = _existing(text, app_dir)
    if path.is_dir() and not (path / "__init__.py").is_file():
        path = _main_file(path)
    elif path.name == "__init__.py":
        path = path.parent
    elif path.is_file() and path.suffix != ".py":
        raise ServerError("not a Python file", where=str(path), remedy="choose a .py file, or write module:attribute")
    root = app_dir if app_dir and path.is_relative_to(app_dir) else _root(path)
    return ".".join(path.relative_to(root).with_suffix("").parts), root


def _existing(text: str, app_dir: Path | None) -> Path:
    """Return the path ``text``, relative to ``app_dir`` if it exists there, else to the current folder."""
    for base in (app_dir, Path.cwd()):
        if base and (base / text).exists():
            return Path(os.path.normpath(base / text))
    wanted = Path(text).absolute()
    raise ServerError(
        f"the {'file' if wanted.suffix else 'folder'} {text} does not exist",
        where=str(wanted.parent),
        remedy="correct the name" + did_you_mean(wanted.name, [path.name for path in wanted.parent.glob("[!_]*.py")]),
    )


def _main_file(folder: Path) -> Path:
    for name in MODULES:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    raise ServerError(
        f"the folder has no {', '.join(f'{name}.py' for name in MODULES)}, and is not a package",
        where=str(folder),
        remedy="name the file that contains the app",
    )


def _root(path: Path) -> Path:
    """Return the folder above the outermost package that contains ``path``.

    A folder without ``__init__.py`` is a package if the file imports it by its name, and nothing else has this name.
    """
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    above = [folder for folder in (root, *root.parents) if folder.is_relative_to(Path.cwd()) and folder != Path.cwd()]
    names = {*_IMPORT.findall(path.read_text("utf-8", "replace"))} if above and path.is_file() else set()
    packages = (folder for folder in above if folder.name in names and _is_free(folder))
    return next((folder.parent for folder in packages), root)


def _is_free(folder: Path) -> bool:
    """Return whether no other module has the name of ``folder``."""
    spec = find_spec(folder.name)
    return spec is None or str(folder) in (spec.submodule_search_locations or ())


def import_folder(app: str, folder: Path) -> Path:
    """Return the folder to import ``app`` ("module" or "module:attribute") from: ``folder``, or its folder ``src``.

    It is ``src`` if only that contains the module. A module precedes a mere folder.
    """
    module = app.partition(":")[0].replace(".", "/")
    top = module.partition("/")[0]
    kinds: tuple[Callable[[Path], bool], ...] = (
        lambda place: (place / f"{module}.py").is_file() or (place / module / "__init__.py").is_file(),
        lambda place: (place / f"{top}.py").is_file() or (place / top / "__init__.py").is_file(),
        lambda place: (place / top).is_dir(),
    )
    places = (folder, folder / "src")
    return next((place for is_there in kinds for place in places if is_there(place)), folder)


def app_attribute(module: ModuleType, *, factory: bool = False) -> str | None:
    """Return the attribute of ``module`` that contains its app: app, api, the only app, or a factory. None without any.

    With ``factory`` it is only the last. Raises `ServerError` if there are several.
    """
    if factory:
        return FACTORY if hasattr(module, FACTORY) else None
    from starlette.applications import Starlette  # the base class of FastAPI

    preferred = {name: getattr(module, name, None) for name in PREFERRED}
    named = [name for name, value in preferred.items() if isinstance(value, Starlette)]
    named += [name for name, value in preferred.items() if _may_be_app(value)]
    if named:
        return named[0]
    apps: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Starlette):
            apps.setdefault(id(value), name)
    if len(apps) > 1:
        names = sorted(apps.values())
        raise ServerError(
            f"{module.__name__} has several apps: {', '.join(names)}",
            where=file_of(module),
            remedy=f"name one of them: {' or '.join(f'{module.__name__}:{name}' for name in names)}",
        )
    if apps:
        return next(iter(apps.values()))
    return FACTORY if is_factory(getattr(module, FACTORY, None)) else None


def _may_be_app(value: object) -> bool:
    """Return whether ``value`` can be served: an ASGI app or a factory of one, but no router or class."""
    from starlette.routing import Router

    return callable(value) and not isinstance(value, type | Router)


def is_factory(app: Any) -> bool:
    """Return whether ``app`` is a factory, by uvicorn's rule: it can be called without arguments."""
    try:
        inspect.signature(app).bind()
    except Exception:  # noqa: BLE001  # it reads attributes of the user's object, such as a proxy without a target
        return False
    return True


def file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__
