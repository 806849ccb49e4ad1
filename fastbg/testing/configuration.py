"""How an app under test is served: what the fixtures ``fastbg_server``, ``fastbg_env`` and ``fastbg_cwd`` return."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from fastbg.errors import ServerError
from fastbg.server.settings import is_variable_name
from fastbg.server.uvicorn_options import PATHS

REMEDIES = {
    "fastbg_server": 'return a dict such as {"root_path": "/api"}',
    "fastbg_env": 'return a dict such as {"SMTP_PORT": "2525"}',
    "fastbg_cwd": "return a folder that exists, such as tmp_path",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """How an app is served. ``options``: of uvicorn, as in the table `server` of a script, with absolute paths.

    Only for a "module:attribute" app: ``env``: more environment variables. ``folder``: its working directory, None for
    the current one.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def of(cls, options: object, env: object, folder: object) -> "Configuration":
        """Return the configuration of the three fixtures. Paths are relative to the current folder.

        Raises `ServerError`.
        """
        return cls(_options(options), _env(env), _folder(folder))

    @property
    def needs_process(self) -> bool:
        """Whether only a process of its own can have this environment and working directory."""
        return bool(self.env) or self.folder is not None


def _options(options: object) -> dict[str, Any]:
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise _wrong("fastbg_server", f"{options!r} is not a dict of options of uvicorn")
    return {name: _option(name, value) for name, value in options.items()}


def _option(name: str, value: object) -> object:
    if name in (*PATHS, "app_dir"):
        if isinstance(value, str | PathLike):
            return os.path.abspath(value)
        raise _wrong("fastbg_server", f"the value of {name} is not a path, but {value!r}")
    if isinstance(value, PathLike):
        return os.fspath(value)
    if isinstance(value, str | bool | int | float) or _is_list_of_texts(value):
        return value
    raise _wrong("fastbg_server", f"the value of {name} is not a text, number, bool or list of texts, but {value!r}")


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _env(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping) or not all(isinstance(name, str) for name in env):
        raise _wrong("fastbg_env", f"{env!r} is not a dict of environment variables")
    for name, value in env.items():
        if isinstance(value, bool) or not isinstance(value, str | int | PathLike):
            raise _wrong("fastbg_env", f"the value of {name} is not a text or a number, but {value!r}")
        if not is_variable_name(name) or "\0" in str(value):
            raise _wrong("fastbg_env", f"the operating system refuses {name!r}: an empty name, a = in it, or a NUL")
    return {name: str(value) for name, value in env.items()}


def _folder(folder: object) -> Path | None:
    if folder is None:
        return None
    if not isinstance(folder, str | PathLike) or not (path := Path(folder).absolute()).is_dir():
        raise _wrong("fastbg_cwd", f"{folder} is not a folder")
    return path


def _wrong(fixture: str, what: str) -> ServerError:
    return ServerError(what, where=f"the fixture {fixture}", remedy=REMEDIES[fixture])
