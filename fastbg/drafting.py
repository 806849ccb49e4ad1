"""A first script for an app: one request for each operation that can queue background tasks.

What is sent comes from the app's OpenAPI document (`fastbg.samples`), what is asked from its routes
(`fastbg.operations`). The text is a script that runs as it is; what its author has to add stands there as a comment.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastbg.errors import FastbgError
from fastbg.loading import load
from fastbg.operations import Operation, operations
from fastbg.reader import read_script
from fastbg.samples import MARK, Samples, cleaned, example, is_upload
from fastbg.text import safe

Scalar = str | int | float

_WIDTH = 110  # of a line, before a table takes a line for each of its keys
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_NOT_IN_PATHS = re.compile(r"[\x00-\x20\x7f\"#%<>?\[\\\]^`{|}]")
_NOT_OURS = {
    *("accept-encoding", "connection", "content-length", "content-type", "host", "te", "transfer-encoding"),
    "x-request-id",  # by which the server's events find their request
}
_KINDS = {"IntegerConvertor": "1", "FloatConvertor": "1.5", "UUIDConvertor": "6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e"}

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
        target=safe(target), file=safe(file), remark=remark, app=_string(target), folder=_string(folder)
    )
    names: dict[str, int] = {}
    requests = [_request(operation) for operation in asked or found] or [_Request("GET", "/", "/")]
    return head + "".join(f"\n[[request]]\n{_written(request, names)}{_TAIL}" for request in requests)


# A request


@dataclass(slots=True)
class _Request:
    method: str
    template: str
    path: str = ""
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    cookies: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    form: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, str]] = field(default_factory=list)
    body: str | None = None
    status: int = 200
    remarks: list[str] = field(default_factory=list)


def _request(operation: Operation) -> _Request:
    samples = Samples(operation.document)
    request = _Request(operation.method, cleaned(operation.path), status=operation.status or 200)
    if "responses" not in operation.told:
        request.remarks.append("No OpenAPI document tells what this one takes: add its query, json or form.")
    in_path: dict[str, str] = {}
    for parameter in map(samples.resolved, operation.told.get("parameters", [])):
        name, place = cleaned(str(parameter.get("name"))), parameter.get("in")
        value = _parameter(samples, parameter, name)
        if place == "path" and isinstance(value, Scalar):
            in_path[name] = _as_text(value)
        elif place == "query" and (items := _scalars(value)):
            request.query[name] = items
        elif place == "header" and name.lower() not in _NOT_OURS:
            _carry(request.headers, name, value)
        elif place == "cookie":
            _carry(request.cookies, name, value)
    _secure(request, operation)
    _fill(request, samples, samples.resolved(operation.told.get("requestBody")).get("content", {}))
    if samples.unmet:
        names = ", ".join(map(safe, samples.unmet))
        request.remarks.append(f"No sample was found for the pattern of {names}: put in one of yours.")
    pieces = re.split(r"\{(\w+)\}", operation.path)
    for number, piece in enumerate(pieces):
        if number % 2:
            request.path += _quoted(in_path.get(piece) or _KINDS.get(operation.kinds.get(piece, ""), MARK))
        else:
            request.path += _quoted(piece).replace(MARK, quote(MARK))
    return request


def _quoted(text: str) -> str:
    return _NOT_IN_PATHS.sub(lambda found: quote(found[0]), text)


def _parameter(samples: Samples, parameter: Mapping[str, Any], name: str) -> Any:
    """A value for a parameter; an object in JSON, where it is to come so."""
    known = parameter.get("in") != "query"
    given = cleaned(example(parameter))
    for holder in parameter.get("content", {}).values():
        value = samples.of(holder.get("schema"), name, given=given or cleaned(example(holder)), known=known)
        return json.dumps(value, ensure_ascii=False)
    return samples.of(parameter.get("schema"), name, given=given, known=known)


def _secure(request: _Request, operation: Operation) -> None:
    """What the first way in asks for, where none is open."""
    ways = operation.told.get("security") or operation.document.get("security") or [{}]
    schemes = operation.document.get("components", {}).get("securitySchemes", {})
    if all(ways):
        request.remarks.append('A secret of yours can come from the environment: "${env.NAME}".')
    for name in ways[0] if all(ways) else ():
        scheme = schemes.get(name, {})
        if scheme.get("type") == "apiKey":
            places = {"query": request.query, "header": request.headers, "cookie": request.cookies}
            _carry(places.get(scheme.get("in"), {}), cleaned(str(scheme.get("name"))), MARK)
        elif scheme.get("scheme") == "basic":
            request.headers["Authorization"] = "Basic dXNlcjpwYXNzd29yZA=="  # user:password
        else:
            request.headers["Authorization"] = f"Bearer {MARK}"


def _fill(request: _Request, samples: Samples, content: Mapping[str, Any]) -> None:
    """Give the request a body, of the first kind in ``content`` that we can write best."""
    kinds = [r"application/json", r".*[/+]json", r"multipart/form-data", r".*/x-www-form-urlencoded", r".*"]
    media = next((media for kind in kinds for media in content if re.fullmatch(kind, media)), None)
    if media is None:
        return
    holder = content[media]
    plain = samples.resolved(holder.get("schema"))
    value = samples.of(holder.get("schema"), "", given=cleaned(example(holder)))
    if "form" in media and isinstance(value, dict):
        properties = plain.get("properties", {})
        for name, item in value.items():
            schema = samples.resolved(properties.get(name))
            if name and (is_upload(schema) or is_upload(samples.resolved(schema.get("items")))):
                request.files.append({"field": name, "name": "sample.txt", "text": f"{MARK}\n"})
            elif name and item != []:
                items = _scalars(item)
                request.form[name] = items if items is not None else json.dumps(item, ensure_ascii=False)
        return
    if "json" in media:
        request.json = value
    else:
        request.body = MARK if value is None else value if isinstance(value, str) else json.dumps(value)
    if media != "application/json":
        _carry(request.headers, "Content-Type", media)


def _carry(table: dict[str, Any], name: str, value: Any) -> None:
    """Put ``value`` into a table of headers or cookies, or of a query, if HTTP can carry it there."""
    text = _as_text(value[0] if isinstance(value, list) and value else value)
    if _TOKEN.fullmatch(name) and isinstance(value, Scalar | list) and text.replace(MARK, "").isprintable():
        table[name] = text.replace(";", "")


def _scalars(value: Any) -> Any:
    """``value`` if it can be a parameter: a text, number or boolean, or some of them."""
    items = value if isinstance(value, list) else [value]
    return value if items and all(isinstance(item, Scalar) for item in items) else None


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# TOML


def _written(request: _Request, names: dict[str, int]) -> str:
    name = f"{request.method} {request.template}"
    names[name] = names.get(name, 0) + 1
    if names[name] > 1:
        name += f" ({names[name]})"
    lines = [f"name = {_string(name)}", f"method = {_string(request.method)}", f"path = {_string(request.path)}"]
    for table in ("query", "headers", "cookies", "json", "form", "files", "body"):
        value = getattr(request, table)
        if value or (value is not None and table in ("json", "body")):
            lines += _lines(table, value)
    lines += [f"# {remark}" for remark in request.remarks]
    if request.status != 200:
        lines.append(f"expect.status = {request.status}")
    return "".join(line + "\n" for line in lines)


def _lines(key: str, value: Any) -> Iterator[str]:
    """``key = value``, or a line for each item of a table or an array that is too long for one."""
    whole = f"{key} = {_toml(value)}"
    if len(whole) > _WIDTH and isinstance(value, Mapping):
        for name, item in value.items():
            yield from _lines(f"{key}.{_key(name)}", item)
    elif len(whole) > _WIDTH and isinstance(value, list):
        yield from (f"{key} = [", *(f"    {_toml(item)}," for item in value), "]")
    else:
        yield whole


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case Mapping():
            return (
                f"{{ {', '.join(f'{_key(name)} = {_toml(item)}' for name, item in value.items())} }}" if value else "{}"
            )
        case list():
            return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """``text`` as TOML writes it, with nothing in it that is a placeholder by accident, or that cannot be seen."""
    quoted = json.dumps(text.replace("${", "$${"), ensure_ascii=False).replace(MARK, "${mark}")
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
