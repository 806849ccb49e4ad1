"""Writes a first script for an app: one request for each operation that can queue background tasks.

The operations are from the app's routes (`fastbg.scripting.routes`), the values from its OpenAPI document
(`fastbg.scripting.sample_request`). The script runs without changes; comments show what its author can add.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastbg.errors import FastbgError
from fastbg.scripting import placeholders
from fastbg.scripting.reader import read_script
from fastbg.scripting.routes import operations
from fastbg.scripting.sample_request import SampleRequest, sample_request
from fastbg.scripting.samples import MARK
from fastbg.scripting.toml_writer import assignment, to_toml
from fastbg.server.importer import load
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
_ALL = """\
# fastbg found no route with a BackgroundTasks parameter. It cannot see which routes give a task to their Response,
# so this script requests all routes. Keep those that queue a task, or set expect.verdict = "no-work" for the others.
"""
_NONE = "# fastbg found no route in this app. Replace the request below with one of your own.\n"
_TAIL = """\
expect.verdict = "response-first"
# expect.tasks = ["function"]  # its tasks in their order
# expect.writes = [{ file = "log.txt", text = "what the task writes for ${mark}\\n" }]
"""


def write_draft(target: str, path: Path, folder: Path) -> list[str]:
    """Write a first script for the app ``target`` ("module:attribute") to the new file ``path``.

    ``folder``: folder from which the app is imported. Returns the names of the requests. Raises `FastbgError` if the
    file already exists or cannot be written, `ServerError` if the app cannot be loaded.
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
            text = draft(load(target, folder.absolute()), target, os.path.relpath(folder.absolute(), home), path.name)
            source = read_script(text, str(path), home, os.environ)
            file.write(text)
        except BaseException:
            path.unlink()
            raise
    return [request.name for request in source.script.requests]


def draft(app: object, target: str, folder: str, file: str = "FILE") -> str:
    """Return the TOML of a first script for ``app``, the ASGI app ``target`` ("module:attribute").

    ``folder``: folder from which the app is imported, as written in the script. ``file``: name of the script. For a
    FastAPI app the requests are the operations that take `BackgroundTasks`, also in a dependency. Without such
    operations, and for other apps, they are all operations.
    """
    found = [operation for operation in operations(app) if not operation.path.startswith("//")]
    with_tasks = [operation for operation in found if operation.takes_tasks]
    remark = "" if with_tasks else _ALL if found else _NONE
    head = _HEAD.format(
        target=escape_control(target),
        file=escape_control(file),
        remark=remark,
        app=to_toml(_in_script(target)),
        folder=to_toml(_in_script(folder)),
    )
    requests = [sample_request(operation) for operation in with_tasks or found] or [SampleRequest("GET", "/", "/")]
    return head + "".join(map(_request_text, requests, _names(requests)))


def _names(requests: list[SampleRequest]) -> Iterator[str]:
    """Yield a unique name for each request."""
    counts: dict[str, int] = {}
    for request in requests:
        name = f"{request.method} {request.template}"
        counts[name] = counts.get(name, 0) + 1
        yield name if counts[name] == 1 else f"{name} ({counts[name]})"


def _request_text(request: SampleRequest, name: str) -> str:
    keys = {"name": name, "method": request.method, "path": request.path}
    for table in ("query", "headers", "cookies", "json", "form", "files", "body"):
        value = getattr(request, table)
        if value or (value is not None and table in ("json", "body")):
            keys[table] = value
    lines = [line for key, value in keys.items() for line in assignment(key, _in_script(value))]
    lines += [f"# {remark}" for remark in request.remarks]
    if request.status != 200:
        lines.append(f"expect.status = {request.status}")
    return "\n".join(["", "[[request]]", *lines, _TAIL])


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
