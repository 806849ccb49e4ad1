"""A first script for an app: one request for each operation that can queue background tasks.

What is asked comes from the app's routes (`fastbg.scripting.routes`), what is sent from its OpenAPI document
(`fastbg.scripting.sample_request`). The text is a script that runs as it is; what its author has to add is a comment.
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
# ${{mark}} becomes a short text that no other request has, so that their writes can be told apart.
{remark}
app = {app}
folder = {folder}
# The files that the tasks write, such as "log.txt", relative to the folder. Tasks that write none are seen as well.
follow = []
"""
_ALL = """\
# No route here is known to take BackgroundTasks, and nobody can see from outside which one gives a task to its
# Response, so these are all. Keep those that queue a task; the others want expect.verdict = "no-work".
"""
_NONE = "# This app has no route that could be asked, so put a request of yours in the place of this one.\n"
_TAIL = """\
expect.verdict = "response-first"
# expect.tasks = ["function"]  # its tasks, in their order
# expect.writes = [{ file = "log.txt", text = "what the task writes for ${mark}\\n" }]
"""


def write_draft(target: str, path: Path, folder: Path) -> list[str]:
    """Write a first script for the app that ``target`` ("module:attribute") names to ``path``, a new file.

    ``folder``: the one that the app is imported from. Returns the names of the requests. Raises `FastbgError` where
    there is such a file already, or it cannot be written, or the app (`ServerError`) cannot be loaded.
    """
    home = path.absolute().parent
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        what = "there is such a file already" if isinstance(error, FileExistsError) else error.strerror
        raise FastbgError(
            f"the script cannot be written: {what}",
            where=str(path),
            remedy="name a new file, in a folder that is there and that you may write to",
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
    """The TOML of a first script for ``app``, an ASGI app that was loaded by ``target`` ("module:attribute").

    ``folder``: the one it was imported from, as the script is to name it. ``file``: what the script will be called.
    Of an app of FastAPI's these are the operations that take `BackgroundTasks`, be it in a dependency; where there are
    none, or nobody can know, all.
    """
    found = [operation for operation in operations(app) if not operation.path.startswith("//")]
    asked = [operation for operation in found if operation.takes_tasks]
    remark = "" if asked else _ALL if found else _NONE
    head = _HEAD.format(
        target=escape_control(target),
        file=escape_control(file),
        remark=remark,
        app=to_toml(_in_script(target)),
        folder=to_toml(_in_script(folder)),
    )
    requests = [sample_request(operation) for operation in asked or found] or [SampleRequest("GET", "/", "/")]
    return head + "".join(map(_request_text, requests, _names(requests)))


def _names(requests: list[SampleRequest]) -> Iterator[str]:
    """A name for each request, which no other has."""
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
    """``value`` as it stands in a script: the mark as its placeholder, and nothing that is one by accident."""
    match value:
        case str():
            return placeholders.escape(value).replace(MARK, "${mark}")
        case Mapping():
            return {_in_script(name): _in_script(item) for name, item in value.items()}
        case list():
            return [_in_script(item) for item in value]
    return value
