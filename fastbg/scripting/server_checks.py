"""Checks the `server` tables of a script: files that do not exist, and options that only uvicorn knows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastbg.errors import ServerError
from fastbg.scripting import placeholders
from fastbg.scripting.faults import Fault
from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.server_table import UvicornOptions
from fastbg.server.uvicorn_options import PATHS, parse, words_of

FILES = tuple(name for name in PATHS if name != "uds")


def check_server(path: KeyPath, table: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    """Yield the faults in the table at ``path``. ``folder``: that of the app. Values with placeholders may be right."""
    if "ssl_keyfile" in table and "ssl_certfile" not in table:
        yield Fault((*path, "ssl_keyfile"), "a key needs its certificate: add ssl_certfile")
    if "uds" in table and "ssl_certfile" in table:
        yield Fault((*path, "uds"), "fastbg sends no HTTPS to a Unix socket: remove uds or ssl_certfile")
    for name, value in table.items():
        if placeholders.used(value):
            continue
        if name in FILES and isinstance(value, str):
            file = folder / placeholders.fill_text(value, {})
            if not file.is_file():
                yield Fault((*path, name), f"the file {file} does not exist")
        elif name not in UvicornOptions.model_fields:
            try:
                parse(list(words_of({name: value})))
            except ServerError as error:
                yield Fault((*path, name), error.what)
