"""The options of uvicorn: words of its command line, or a table with the same names. uvicorn itself checks them."""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastbg.errors import ServerError
from fastbg.text import did_you_mean

if TYPE_CHECKING:
    from click import Parameter

OF_FASTBG = ("host", "port", "reload", "workers", "app_dir")  # `fastbg serve` has options of these names
NOT_IN_TABLES = (
    *("app", "host", "port", "fd", "reload", "reload_dirs", "reload_includes", "reload_excludes", "reload_delay"),
    *("workers", "version", "interface"),
)
PATHS = ("env_file", "uds", "ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "log_config")
REMEDY = "`uvicorn --help` describes its options"


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `uvicorn.Config` for ``words`` of uvicorn's command line.

    ``--help`` and ``--version`` are uvicorn's. Raises `ServerError`.
    """
    from click import ClickException
    from click.core import ParameterSource
    from click.exceptions import Exit
    from uvicorn import main

    if not words:
        return {}
    try:
        # Without the prefix of variables: Kubernetes sets UVICORN_PORT for a service with the name "uvicorn".
        extra: dict[str, Any] = {"auto_envvar_prefix": None, "allow_extra_args": True}
        with main.make_context("uvicorn", ["app", *words], **extra) as context:
            typed = ParameterSource.COMMANDLINE
            given = {
                name: value for name, value in context.params.items() if context.get_parameter_source(name) is typed
            }
    except Exit as stop:
        sys.exit(stop.exit_code)
    except ClickException as error:
        named = getattr(error, "param", None)
        where = getattr(error, "option_name", None) or (named.opts[0] if named else "the options of uvicorn")
        raise ServerError(f"uvicorn: {error.format_message().rstrip('.')}", where=where, remedy=REMEDY) from None
    del given["app"]
    if context.args:
        raise ServerError("the app is not an option of uvicorn", where=context.args[0], remedy="write it before the --")
    for name in OF_FASTBG:
        if name in given:
            option = _option(name)
            raise ServerError(f"{option} is an option of fastbg", where=f"-- {option}", remedy="write it before the --")
    if "interface" in given:
        raise ServerError("fastbg records only ASGI 3 apps", where="-- --interface", remedy="leave out --interface")
    if "headers" in given:
        given["headers"] = [_header(text) for text in given["headers"]]
    return given


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ServerError("a header of uvicorn has no value", where=f"--header {name}", remedy="write it as NAME:VALUE")
    return name, value.strip()  # uvicorn would send the space after the colon, which h11 refuses


def words_of(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words of uvicorn's command line for ``table``. Raises `ServerError` for a name that it cannot have."""
    known = _parameters()
    for name, value in table.items():
        if name in NOT_IN_TABLES:
            what = "fastbg decides this itself: it runs one process with an ASGI app, at an address of its own"
            raise ServerError(what, where=name, remedy=f"remove {name}")
        if name not in known:
            hint = did_you_mean(name, {*known} - {*NOT_IN_TABLES})
            raise ServerError(f"unknown option of uvicorn{hint}", where=name, remedy=f"correct the name; {REMEDY}")
        option = known[name].opts[0]
        if not getattr(known[name], "is_flag", False):
            yield from (f"{option}={_text(item)}" for item in (value if isinstance(value, list | tuple) else [value]))
        elif not isinstance(value, bool):
            raise ServerError(f"expected true or false, found {value!r}", where=name, remedy="correct the value")
        else:
            yield from [option] if value else known[name].secondary_opts[:1]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_option(word: str) -> bool:
    """Return whether ``word`` is an option of uvicorn, such as ``--http``."""
    return any(word in (*each.opts, *each.secondary_opts) for each in _parameters().values())


def _parameters() -> "dict[str, Parameter]":
    from uvicorn import main

    return {each.name: each for each in main.params if each.name}


def prepare(options: Mapping[str, Any]) -> dict[str, Any]:
    """Load the environment file of ``options``, and return the arguments of `uvicorn.Config`.

    Raises `ServerError`: uvicorn checks most of them only when it starts, and then shows a traceback.
    """
    rest = {name: value for name, value in options.items() if name not in ("env_file", "uds", "fd", "factory")}
    if "env_file" in options:
        _load_env_file(options["env_file"])
    if rest:  # the check takes time
        _check(rest)
    return rest


def _load_env_file(path: str) -> None:
    try:
        from dotenv import load_dotenv
    except ModuleNotFoundError:
        raise ServerError(
            "an environment file needs python-dotenv",
            where=path,
            remedy=f"install python-dotenv where fastbg is installed ({sys.prefix})",
        ) from None
    try:
        load_dotenv(path)  # like uvicorn: variables that are already set stay
    except (OSError, ValueError) as error:  # no UTF-8, or a NUL in a name or value
        raise ServerError(f"the environment file cannot be read: {error}", where=path, remedy="correct it") from None


def _check(options: Mapping[str, Any]) -> None:
    import ssl

    from uvicorn import Config

    if "ssl_certfile" not in options and "ssl_keyfile" in options:
        raise ServerError("the key has no certificate", where=options["ssl_keyfile"], remedy="add --ssl-certfile")
    for name in PATHS:
        if name in options and not Path(options[name]).is_file():
            where = str(Path(options[name]).absolute())
            raise ServerError(f"the file of {_option(name)} does not exist", where=where, remedy="correct the name")
    checked = {name: value for name, value in options.items() if not name.startswith("reload_")}
    try:
        with warnings.catch_warnings(action="ignore"):  # from optional modules that uvicorn tries to import
            config = Config(_app, **{"log_config": None, **checked})
            config.load()
            if hasattr(config, "get_loop_factory"):  # uvicorn before 0.36 sets the loop of the process instead
                config.get_loop_factory()
    except ssl.SSLError as error:
        remedy = "name the PEM files of the certificate and of its key with --ssl-certfile and --ssl-keyfile"
        raise ServerError(f"HTTPS cannot be set up: {error}", where=options["ssl_certfile"], remedy=remedy) from None
    except (Exception, SystemExit) as error:  # before it exits, it has logged why
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        raise ServerError(
            "uvicorn cannot start with these options" + ("" if isinstance(error, SystemExit) else f": {error}"),
            where=", ".join(map(_option, options)),
            remedy=f"install {missing} where fastbg is installed ({sys.prefix})" if missing else REMEDY,
        ) from error


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


async def _app(scope: object, receive: object, send: object) -> None:
    """An app for the check of the options."""
