"""Imports the user's app by ``module:attribute``. Every failure is a `ServerError`."""

import importlib
import inspect
import sys
import sysconfig
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fastbg.errors import ServerError
from fastbg.text import did_you_mean

FOREIGN_CODE = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<frozen ")  # not the user's files


@cache
def load(target: str, folder: Path) -> Any:  # an ASGI app: any callable
    """Import the app ``target`` ("module:attribute"). A function without arguments is called, and returns the app.

    ``folder`` becomes the first entry of `sys.path`. Each app is loaded once per process. Raises `ServerError`.
    """
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    name, colon, path = target.partition(":")
    if not (name and colon and path) or not all(part.isidentifier() for part in (name + "." + path).split(".")):
        raise ServerError(
            f"{target!r} is not a valid name of an app",
            where="the name of the app",
            remedy="write it as module:attribute, for example `main:app` for the `app` in main.py",
        )
    module = _import(name, folder)
    app: Any = module
    for part in path.split("."):
        try:
            app = getattr(app, part)
        except AttributeError:
            raise _missing_attribute(module, target, app, part) from None
    if not callable(app):
        raise ServerError(
            f"{path} is not an ASGI app, but {_a(type(app).__name__)}",
            where=_file(module),
            remedy="name the attribute that contains the ASGI app, for example the FastAPI() object",
        )
    if _is_factory(app):
        try:
            app = app()
        except Exception as error:
            raise _failed(error, f"{path}() of {name}") from error
    return app


def _import(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _failed(error, f"the module {name}") from error
        raise ServerError(
            f"the module {error.name} does not exist",
            where=str(folder),
            remedy="run fastbg in the folder that contains the module, or correct the name"
            + did_you_mean(error.name, [path.stem for path in folder.glob("[!_]*.py")]),
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(error, f"the module {name}") from error


def _failed(error: BaseException, what: str) -> ServerError:
    """Return an error with the type and the text of ``error``, and the last line of the user's code in its trace."""
    where = what
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
        text = error.msg
    else:
        text = str(error)
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(FOREIGN_CODE) and "site-packages" not in frame.filename:
                where = f"{frame.filename}:{frame.lineno}"
    remedy = f"fix this line; `python -c 'import {what.split()[-1]}'` shows the traceback"
    if isinstance(error, ModuleNotFoundError) and error.name:
        remedy = f"install {error.name.partition('.')[0]} where fastbg is installed ({sys.prefix}), or correct the name"
    return ServerError(
        f"{what} could not be loaded: {type(error).__name__}" + (f": {text}" if text else ""),
        where=where,
        remedy=remedy,
    )


def _missing_attribute(module: ModuleType, target: str, owner: Any, part: str) -> ServerError:
    owner_name = f"the module {module.__name__}" if owner is module else f"the {type(owner).__name__} object"
    public = [name for name in vars(owner) if not name.startswith("_") and callable(getattr(owner, name, None))]
    return ServerError(
        f"the app {target} does not exist: {owner_name} has no attribute {part!r}",
        where=_file(module),
        remedy="correct the name" + did_you_mean(part, public),
    )


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def _is_factory(app: Any) -> bool:
    """Return whether ``app`` is a factory, by uvicorn's rule: it can be called without arguments."""
    try:
        inspect.signature(app).bind()
    except (TypeError, ValueError):
        return False
    return True
