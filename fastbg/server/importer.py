"""Finds the user's app by ``module:attribute``; whatever is wrong with it comes out as a `ServerError`."""

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

NOT_THE_USERS = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<frozen ")  # and what is installed


@cache
def load(target: str, folder: Path) -> Any:  # an ASGI app: whatever can be called
    """The app that ``target`` ("module:attribute") names, called first if it is a function without arguments.

    ``folder`` is put first in `sys.path`. Loaded once in a process. Raises `ServerError`.
    """
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    name, colon, path = target.partition(":")
    if not (name and colon and path) or not all(part.isidentifier() for part in (name + "." + path).split(".")):
        raise ServerError(
            f"{target!r} names no app",
            where="the name of the app",
            remedy="write it as module:attribute, `main:app` for the `app` in main.py",
        )
    module = _import(name, folder)
    app: Any = module
    for part in path.split("."):
        try:
            app = getattr(app, part)
        except AttributeError:
            raise _no_attribute(module, target, app, part) from None
    if not callable(app):
        raise ServerError(
            f"{path} is no app but {_a(type(app).__name__)}: it cannot be called",
            where=_file(module),
            remedy="name the attribute that holds the ASGI app, the FastAPI() object",
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
            raise _failed(error, name) from error
        raise ServerError(
            f"there is no module {error.name}",
            where=str(folder),
            remedy="run fastbg in the folder that holds it, or correct the name"
            + did_you_mean(error.name, [path.stem for path in folder.glob("[!_]*.py")]),
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(error, name) from error


def _failed(error: BaseException, what: str) -> ServerError:
    """``error`` was raised by the user's code: its type, its text, and the line of theirs that it came from."""
    where = what
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
        text = error.msg
    else:
        text = str(error)
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(NOT_THE_USERS) and "site-packages" not in frame.filename:
                where = f"{frame.filename}:{frame.lineno}"
    remedy = f"mend it there; `python -c 'import {what.split()[-1]}'` shows all of it"
    if isinstance(error, ModuleNotFoundError) and error.name:
        remedy = f"install {error.name.partition('.')[0]} where fastbg is installed ({sys.prefix}), or correct the name"
    return ServerError(
        f"{what} could not be loaded: {type(error).__name__}" + (f": {text}" if text else ""),
        where=where,
        remedy=remedy,
    )


def _no_attribute(module: ModuleType, target: str, owner: Any, part: str) -> ServerError:
    public = [name for name in vars(owner) if not name.startswith("_") and callable(getattr(owner, name, None))]
    return ServerError(
        f"{target} names no app: there is no {part!r}",
        where=_file(module),
        remedy="correct the name" + did_you_mean(part, public),
    )


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def _is_factory(app: Any) -> bool:
    """Whether ``app`` is to be called for the app, as uvicorn does: it needs no argument."""
    try:
        inspect.signature(app).bind()
    except (TypeError, ValueError):
        return False
    return True
