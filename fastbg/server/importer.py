"""Imports the user's app by ``module:attribute``, or by its module alone. Every failure is a `ServerError`."""

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from fastbg.errors import ServerError
from fastbg.recorder.naming import describe
from fastbg.server.discovery import EXPECTED, FACTORY, MODULES, PREFERRED, app_attribute, file_of, is_factory
from fastbg.text import did_you_mean

FOREIGN_CODE = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<frozen ")  # not the user's files


@cache
def load(target: str, folder: Path, *, factory: bool = False) -> Any:  # an ASGI app: any callable
    """Import the app ``target`` ("module:attribute"). A function without arguments is called, and returns the app.

    ``folder`` becomes the first entry of `sys.path`. Without an attribute the module's app is found. ``factory``: call
    the attribute in any case. Each app is loaded once per process. Raises `ServerError`.
    """
    target = full_name(target, folder, factory=factory)
    name, _, path = target.partition(":")
    module = _import(name, folder)
    app: Any = module
    for part in path.split("."):
        with _reporting(f"{path} of {name}"):
            try:
                app = getattr(app, part)
            except AttributeError:
                raise _missing_attribute(module, target, app, part) from None
    if not callable(app):
        raise ServerError(
            f"{path} is not an ASGI app, but {_a(type(app).__name__)}",
            where=file_of(module),
            remedy="name the attribute that contains the ASGI app, for example the FastAPI() object",
        )
    if factory or is_factory(app):
        with _reporting(f"{path}() of {name}"):
            app = app()
        if not callable(app):
            raise ServerError(
                f"{path}() of {name} does not return an ASGI app, but {_a(type(app).__name__)}",
                where=file_of(module),
                remedy="let it return the ASGI app, for example the FastAPI() object",
            )
    return app


@cache
def full_name(target: str, folder: Path, *, factory: bool = False) -> str:
    """Return ``target`` as "module:attribute". Without an attribute the module is imported, and its app is found.

    A package that contains no app may have it in its module ``main``, ``app`` or ``api``. ``factory``: find the
    function that returns the app. Raises `ServerError`.
    """
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    name, colon, path = target.partition(":")
    attributes = path.split(".") if colon else []
    if not all(name.split(".")) or not all(part.isidentifier() for part in attributes):
        raise ServerError(f"{target!r} is not a valid name of an app", where="the name of the app", remedy=EXPECTED)
    if path:
        return target
    package = _import(name, folder)
    inner = [f"{name}.{part}" for part in MODULES] if "__path__" in vars(package) else []
    for module in (name, *inner):
        with _reporting(f"the module {module}"):
            if (module == name or find_spec(module)) and (
                attribute := app_attribute(_import(module, folder), factory=factory)
            ):
                return f"{module}:{attribute}"
    raise ServerError(
        f"the module {name} has no app: no {', '.join(PREFERRED)} or {FACTORY}(), and no FastAPI or Starlette object",
        where=file_of(package),
        remedy=f"add the attribute that contains the app: {name}:attribute",
    )


def _import(name: str, folder: Path) -> ModuleType:
    with _reporting(f"the module {name}"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise
            missing = error.name
    raise ServerError(
        f"the module {missing} does not exist",
        where=str(folder),
        remedy=_module_remedy(missing, folder, "name it with --app-dir, or with server.app_dir in a script")
        or "run fastbg in the folder that contains the module, name the folder with --app-dir or in PYTHONPATH, or "
        "correct the name"
        + did_you_mean(missing, [path.stem for path in _found(folder, "[!_]*.py")]),
    )


@contextmanager
def _reporting(what: str) -> Iterator[None]:
    """Raise `ServerError` for what the user's code raises while ``what`` is loaded, also for a SystemExit."""
    try:
        yield
    except (ServerError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _failed(error, what) from error


def _module_remedy(name: str, folder: Path, how: str) -> str | None:
    """Return a remedy if the module ``name`` is in a folder near ``folder`` or the current one, else None."""
    top = name.partition(".")[0]
    near = dict.fromkeys((Path.cwd(), folder, folder.parent))
    places = (place for base in near for place in (base, *_found(base, "[!.]*/")))
    found = next((place for place in places if _found(place, f"{top}.py") or _found(place, f"{top}/*.py")), None)
    return None if found is None or name != top else f"{top} is in the folder {found}: {how}"


def _found(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in ``folder`` that match ``pattern``; none if it cannot be read, such as another user's."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _failed(error: BaseException, what: str) -> ServerError:
    """Return an error with the type and the text of ``error``, and the last line of the user's code in its trace."""
    where = what
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
        text = f"{type(error).__name__}: {error.msg}"
    else:
        text = describe(error)
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(FOREIGN_CODE) and "site-packages" not in frame.filename:
                where = f"{frame.filename}:{frame.lineno}"
    remedy = f"fix this line; `python -c 'import {what.split()[-1]}'` shows the traceback"
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        remedy = _module_remedy(module, Path(sys.path[0]), "add it to PYTHONPATH") or (
            f"install {module} where fastbg is installed ({sys.prefix}), add its folder to PYTHONPATH, "
            "or correct the name"
        )
    return ServerError(
        f"{what} could not be loaded: {text}",
        where=where,
        remedy=remedy,
    )


def _missing_attribute(module: ModuleType, target: str, owner: Any, part: str) -> ServerError:
    owner_name = f"the module {module.__name__}" if owner is module else f"the {type(owner).__name__} object"
    values = getattr(owner, "__dict__", {})
    public = [name for name, value in values.items() if not name.startswith("_") and callable(value)]
    return ServerError(
        f"the app {target} does not exist: {owner_name} has no attribute {part!r}",
        where=file_of(module),
        remedy="correct the name" + did_you_mean(part, public),
    )


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
