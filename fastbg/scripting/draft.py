"""Writes a first script for an app: one request for each operation that can queue background tasks.

The operations are from the app's routes (`fastbg.scripting.routes`), the values from its OpenAPI document
(`fastbg.scripting.sample_request`). The script runs without changes; comments show what its author can add.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastbg.errors import FastbgError
from fastbg.scripting import placeholders
from fastbg.scripting.reader import read_script
from fastbg.scripting.request_names import default_names
from fastbg.scripting.risk import risk
from fastbg.scripting.routes import operations
from fastbg.scripting.sample_request import SampleRequest, sample_request
from fastbg.scripting.samples import MARK
from fastbg.scripting.toml_writer import assignment, to_toml
from fastbg.server.importer import full_name, load
from fastbg.text import escape_control

_HEAD = """\
# A first script for {target}. Run it: fastbg demo {file}
# fastbg replaces ${{mark}} with a unique text for each request, so that it can assign each write to its request.
{remark}
app = {app}
folder = {folder}
# The files that the tasks write, such as "log.txt", relative to folder. Tasks without a file are recorded as well.
follow = []
"""
_UNKNOWN = """\
# fastbg found no route with a BackgroundTasks parameter. It cannot see which routes give a task to their Response,
# so this script requests all routes that only read. Keep those that queue a task.
"""
_NO_ROUTE = "# fastbg found no route in this app. Replace the request below with one of your own.\n"
_ALL_SKIPPED = """\
# fastbg sends none of the requests below unasked. Remove the # from those that it may send, then remove GET / here.
"""
_KNOWN_TAIL = """\
expect.verdict = "response-first"
# expect.tasks = ["function"]  # its tasks in their order
# expect.writes = [{ file = "log.txt", text = "what the task writes for ${mark}\\n" }]
"""
_UNKNOWN_TAIL = """\
expect.status = "any"
expect.verdict = "any"  # "response-first" if it queues a task, "no-work" if it does not
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A first script. ``text``: its TOML. ``sent``: names of its requests.

    ``skipped``: names of requests that are commented out, by the reason, such as "may destroy data".
    """

    text: str
    sent: tuple[str, ...]
    skipped: Mapping[str, tuple[str, ...]]

    def remarks(self, what: str) -> list[str]:
        """Return a sentence per reason. ``what``: what was done with the requests, such as "not sent"."""
        return [
            f"{what}, because {'it' if len(names) == 1 else 'they'} {reason}: {', '.join(names)}"
            for reason, names in self.skipped.items()
        ]


def write_draft(target: str, path: Path, folder: Path) -> Draft:
    """Write a first script for the app ``target`` ("module:attribute") to the new file ``path``.

    ``folder``: folder from which the app is imported. Raises `FastbgError` if the file already exists or cannot be
    written, `ServerError` if the app cannot be loaded.
    """
    home = path.absolute().parent
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        why = "the file already exists" if isinstance(error, FileExistsError) else error.strerror
        raise FastbgError(
            f"the script cannot be written: {why}",
            where=str(path),
            remedy="choose a new file in a folder that exists and is writable",
        ) from None
    with file:
        try:
            made = draft(load(target, folder), full_name(target, folder), os.path.relpath(folder, home), path.name)
            read_script(made.text, str(path), home, os.environ)
            file.write(made.text)
        except BaseException:
            path.unlink()
            raise
    return made


def draft(app: object, target: str, folder: str, file: str = "FILE") -> Draft:
    """Return a first script for ``app``, the ASGI app ``target`` ("module:attribute").

    ``folder``: folder from which the app is imported, as written in the script. ``file``: name of the script. For a
    FastAPI app the requests are the operations that take `BackgroundTasks`, also in a dependency. Without such
    operations, and for other apps, they are all operations. Those with a `risk` are commented out.
    """
    found = [operation for operation in operations(app) if not operation.path.startswith("//")]
    with_tasks = [operation for operation in found if operation.takes_tasks]
    listed = with_tasks or found
    requests = [sample_request(operation) for operation in listed]
    names = default_names([f"{request.method} {request.template}" for request in requests])
    skipped: dict[str, list[str]] = {}
    sent: list[str] = []
    texts: list[str] = []
    for operation, request, name in zip(listed, requests, names, strict=True):
        text = _request_text(request, name, _KNOWN_TAIL if operation.takes_tasks else _UNKNOWN_TAIL)
        if why := risk(operation):
            skipped.setdefault(why, []).append(name)
            texts.append(_commented_out(text, why))
        else:
            sent.append(name)
            texts.append(text)
    if not sent:
        texts.insert(0, _request_text(SampleRequest("GET", "/", "/"), "GET /", _UNKNOWN_TAIL))
    head = _HEAD.format(
        target=escape_control(target),
        file=escape_control(file),
        remark=("" if with_tasks else _UNKNOWN if found else _NO_ROUTE) + (_ALL_SKIPPED if found and not sent else ""),
        app=to_toml(_in_script(target)),
        folder=to_toml(_in_script(folder)),
    )
    return Draft(head + "".join(texts), tuple(sent), {why: tuple(names) for why, names in skipped.items()})


def _request_text(request: SampleRequest, name: str, tail: str) -> str:
    keys = {"name": name, "method": request.method, "path": request.path}
    for table in ("query", "headers", "cookies", "json", "form", "files", "body"):
        value = getattr(request, table)
        if value or (value is not None and table in ("json", "body")):
            keys[table] = value
    lines = [line for key, value in keys.items() for line in assignment(key, _in_script(value))]
    lines += [f"# {remark}" for remark in request.remarks]
    if request.status != 200 and tail == _KNOWN_TAIL:
        lines.append(f"expect.status = {request.status}")
    return "\n".join(["", "[[request]]", *lines, tail])


def _commented_out(text: str, why: str) -> str:
    lines = (f"# {line}" for line in text.splitlines() if line)
    return "\n".join(["", f"# fastbg does not send this unasked: it {why}.", *lines, ""])


def _in_script(value: Any) -> Any:
    """Return ``value`` for a script: the mark becomes its placeholder, and every other ``${`` is escaped."""
    match value:
        case str():
            return placeholders.escape(value).replace(MARK, "${mark}")
        case Mapping():
            return {_in_script(name): _in_script(item) for name, item in value.items()}
        case list():
            return [_in_script(item) for item in value]
    return value
