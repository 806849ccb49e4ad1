"""Checks that the model of a script cannot express: keys that exclude or need each other, and unknown names.

The checks read the raw TOML data, so that their faults are reported together with the faults of the model. They ignore
values of a wrong type. Pure, except that they check whether folders and files exist.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from fastbg.events import Verdict
from fastbg.scripting import placeholders
from fastbg.scripting.faults import Fault, describe_value
from fastbg.scripting.measured import mistakes
from fastbg.scripting.placeholders import PORT, KeyPath
from fastbg.scripting.refused_values import (
    check_fields,
    check_length,
    check_process,
    check_target,
    check_type,
    check_url,
)
from fastbg.scripting.request_names import with_names
from fastbg.scripting.saved_values import unknown_value
from fastbg.scripting.server_checks import check_server
from fastbg.text import did_you_mean

BODIES = ("json", "form", "files", "body")
MAIL = ("mail.host", "mail.port")
RESERVED = ("mark", "run", "dir")
COMMON = ("headers", "query", "cookies")  # of all requests
NO_PLACEHOLDERS = ("part", "request", "moral", *COMMON, "code")  # code is quoted, the others are checked on their own


def check(data: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> list[Fault]:
    """Return the faults in ``data``. ``folder``: of the script. ``environment``: variables for ``${env.NAME}``."""
    return [
        *_numbers(data),
        *_target(data),
        *check_url(data.get("url")),
        *(fault for path, table in _with_settings(data) for fault in check_process(path, table)),
        *_folder(data, folder),
        *_commands(data),
        *_servers(data, folder),
        *_requests(data, folder),
        *_moral(data),
        *_placeholders(data, environment),
    ]


Table = tuple[KeyPath, Mapping[str, Any]]


def parts(data: Mapping[str, Any]) -> list[Table]:
    """Return each part with its path, or the whole script if it has no parts."""
    return _tables(data.get("part"), "part") or [((), data)]


def _tables(value: object, *path: str | int) -> list[Table]:
    """Return the tables in the array ``value``, each with its path: ``path`` and its number."""
    items = value if isinstance(value, list) else []
    return [((*path, number), item) for number, item in enumerate(items) if isinstance(item, Mapping)]


def _with_settings(data: Mapping[str, Any]) -> list[Table]:
    """Return the script and its parts, each with its path: they have settings of a server."""
    return [((), data), *_tables(data.get("part"), "part")]


def _numbers(data: Mapping[str, Any]) -> Iterator[Fault]:
    for path, value in placeholders.leaves(data):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield Fault(path, f"found {describe_value(value)}, but TOML integers have 64 bits: put it in quotes")


def _target(data: Mapping[str, Any]) -> Iterator[Fault]:
    if "part" in data and "request" in data:
        yield Fault(
            ("request",), "a script with parts cannot have other requests: move this one into a [[part.request]]"
        )
    elif not data.get("request", []) and not data.get("part", []):
        yield Fault((), "has no request: add a [[request]] with a path")
    if "part" in data and "code" in data:
        yield Fault(("code",), "a script with parts marks the code of each part: move it into a [[part]]")
    if "url" in data:
        for path, table in _with_settings(data):
            for key in ("app", "command", "env", "server", "worker", "code"):
                if key in table:
                    yield Fault((*path, key), f"url is the address of a running server: remove url or {key}")
    elif not {"app", "command"} & data.keys() and isinstance(data.get("part", []), list):
        for path, part in parts(data):
            if not {"app", "command"} & part.keys():
                yield Fault(path, 'has no app: add app = "module:attribute", command or url = "http://…" at the top')


def _folder(data: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    name = data.get("folder", ".")
    if (
        isinstance(name, str)
        and not placeholders.names(name)
        and not _exists(folder / placeholders.fill_text(name, {}), folder=True)
    ):
        yield Fault(("folder",), f"the folder {folder / name} does not exist")


def _commands(data: Mapping[str, Any]) -> Iterator[Fault]:
    for path, table in _with_settings(data):
        command = table.get("command")
        words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
        has_port = PORT in placeholders.used([words, data.get("env", {}), table.get("env", {})])
        if words and not has_port:
            yield Fault(
                (*path, "command"),
                "has no ${port}, and env neither: fastbg chooses the port on which this server must listen",
            )
        if words and "server" in table:
            yield Fault((*path, "server"), "has options of fastbg's own server: write them into the command")


def _servers(data: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    for path, table in _with_settings(data):
        server = table.get("server")
        if isinstance(server, Mapping):
            yield from check_server((*path, "server"), server, _base(data, folder))


def _base(data: Mapping[str, Any], folder: Path) -> Path:
    """Return the folder of the app. ``folder``: that of the script."""
    name = data.get("folder", ".")
    return folder / name if isinstance(name, str) else folder


def _exists(path: Path, *, folder: bool) -> bool:
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:  # the name is too long, or a folder is not readable
        return False


def _requests(data: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    follow = data.get("follow")
    files = [*(follow if isinstance(follow, list) else []), data.get("mail")]
    base = _base(data, folder)
    for table in ("headers", "cookies"):
        yield from check_fields((table,), data.get(table))
    for part_path, part in parts(data):
        seen: set[object] = set()
        for path, request in _tables(part.get("request"), *part_path, "request"):
            name = request.get("name")
            if isinstance(name, str) and name in seen:
                yield Fault((*path, "name"), f"another request already has the name {describe_value(name)}")
            seen.add(name if isinstance(name, str) else None)
            yield from _request(path, request, [str(file) for file in files if file], base, data.get("headers"))
            yield from _save((*path, "save"), request, {key: data.get(key) for key in COMMON})
            signal = request.get("signal")
            to = signal.get("to", "server") if isinstance(signal, Mapping) else "server"
            if to in ("worker", "broker") and "worker" not in part:
                yield Fault((*path, "signal", "to"), f"the part has no {to}: set worker to Taskiq's broker")
            if "signal" in request and "url" in data:
                yield Fault((*path, "signal"), "fastbg cannot send signals to the server at url: remove signal")


def _request(
    path: KeyPath, request: Mapping[str, Any], files: Sequence[str], base: Path, headers: object
) -> Iterator[Fault]:
    yield from _json((*path, "json"), request.get("json"))
    for table in ("headers", "cookies"):
        yield from check_fields((*path, table), request.get(table))
    yield from check_target((*path, "path"), request.get("path"))
    yield from check_length(path, request, headers)
    bodies = [key for key in request if key in BODIES]
    if len(bodies) > 1 and set(bodies) != {"form", "files"}:
        yield Fault((*path, bodies[1]), f"a request can have only one body, found {' and '.join(bodies)}")
    repeat, concurrency = request.get("repeat", 1), request.get("concurrency", 0)
    if isinstance(repeat, int) and isinstance(concurrency, int) and concurrency > repeat:
        yield Fault(
            (*path, "concurrency"),
            f"found {describe_value(concurrency)}, expected at most repeat ({describe_value(repeat)})",
        )
    if isinstance(concurrency, int) and concurrency > 1 and "connection" in request:
        yield Fault(
            (*path, "connection"), "a connection carries one request at a time: remove connection or concurrency"
        )
    for place, upload in _tables(request.get("files"), *path, "files"):
        yield from _one_of(place, upload, "text", "path")
        yield from check_type((*place, "type"), upload.get("type"))
        name = upload.get("path")
        if (
            isinstance(name, str)
            and not placeholders.names(name)
            and not _exists(base / placeholders.fill_text(name, {}), folder=False)
        ):
            yield Fault((*place, "path"), f"the file {base / name} does not exist")
    expect = request.get("expect")
    if isinstance(expect, Mapping):
        yield from _json((*path, "expect", "body"), expect.get("body"))
        yield from _expect((*path, "expect"), expect, files)


def _save(path: KeyPath, request: Mapping[str, Any], common: Mapping[str, Any]) -> Iterator[Fault]:
    save = request.get("save")
    for name, place in save.items() if isinstance(save, Mapping) else ():
        if isinstance(place, str) and (what := unknown_value(place, request, common)):
            yield Fault((*path, name), what)


def _json(path: KeyPath, value: object) -> Iterator[Fault]:
    for place, leaf in placeholders.leaves(value, path):
        if isinstance(leaf, date | time):
            yield Fault(place, f"found {leaf}, but JSON has no dates: put it in quotes")
        if isinstance(leaf, float) and not isfinite(leaf):
            yield Fault(place, f"found {leaf}, but JSON has only finite numbers")


def _expect(path: KeyPath, expect: Mapping[str, Any], files: Sequence[str]) -> Iterator[Fault]:
    writes = _tables(expect.get("writes"), *path, "writes")
    if expect.get("verdict") == "no-work" and any(write.get("count", 1) != 0 for _, write in writes):
        yield Fault((*path, "writes"), "a request with the verdict no-work has no writes: remove writes or verdict")
    for place, write in writes:
        yield from _one_of(place, write, "text", "pattern", "created", "deleted")
        for key in ("created", "deleted"):
            if key in write and "count" in write:
                yield Fault((*place, "count"), f"a file is {key} once: remove count or {key}")
        file = write.get("file")
        if isinstance(file, str) and file not in files:
            followed = f"followed: {', '.join(files)}" if files else "no file is followed"
            yield Fault(
                (*place, "file"), f"{describe_value(file)} is not followed{did_you_mean(file, files)} ({followed})"
            )
        if "within" in write and write.get("count", 1) == 0:
            yield Fault((*place, "within"), "a write with count = 0 has no time limit: remove within")


def _one_of(path: KeyPath, table: Mapping[str, Any], *keys: str) -> Iterator[Fault]:
    found = [key for key in keys if key in table]
    if len(found) > 1:
        yield Fault(path, f"has both {found[0]} and {found[1]}: remove one of them")
    elif not found:
        yield Fault(path, f"needs {', '.join(keys[:-1])} or {keys[-1]}")


def _named(part: Mapping[str, Any]) -> Mapping[str, Any]:
    named = with_names(part)
    return named if isinstance(named, Mapping) else part


def _moral(data: Mapping[str, Any]) -> Iterator[Fault]:
    moral = data.get("moral")
    if not isinstance(moral, str):
        return
    found = [
        (part.get("name"), request.get("name"))
        for path, part in parts(data)
        for _, request in _tables(_named(part).get("request"), *path, "request")
    ]
    counts = Counter(name for _, name in found if isinstance(name, str))
    known = [name for name, count in counts.items() if count == 1]
    known += [f"{part}: {name}" for part, name in found if part and data.get("part")]
    for mistake in mistakes(moral, [*known, *get_args(Verdict)]):
        yield Fault(("moral",), mistake)


def _known_at(path: KeyPath, mail: Sequence[str], *, has_command: bool) -> Sequence[str]:
    """Return the placeholders that are known before the first request. ``path``: of the key in its script or part."""
    return ("dir", *mail, *([PORT] if has_command and path[0] in ("command", "env") else []))


def _placeholders(data: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Fault]:
    mail = MAIL if "mail" in data else ()
    saved: list[str] = []
    for path, text in placeholders.texts({key: item for key, item in data.items() if key not in NO_PLACEHOLDERS}):
        yield from _unknown(path, text, _known_at(path, mail, has_command="command" in data), environment)
    for part_path, part in parts(data):
        has_command = "command" in data or "command" in part
        for path, text in placeholders.texts(
            {key: item for key, item in part.items() if part_path and key not in NO_PLACEHOLDERS}
        ):
            known = _known_at(path, mail, has_command=has_command)
            yield from _unknown((*part_path, *path), text, known, environment)
        for place, request in _tables(part.get("request"), *part_path, "request"):
            for path, text in placeholders.texts(request):
                yield from _unknown((*place, *path), text, (*RESERVED, *mail, *saved), environment)
            names = request.get("save")
            for name in names if isinstance(names, Mapping) else ():
                if name in RESERVED or not name.isidentifier():
                    yield Fault((*place, "save", name), "is not a valid name for a saved value: choose another name")
                saved.append(name)
    for path, text in placeholders.texts({key: data[key] for key in COMMON if key in data}):
        yield from _unknown(path, text, (*RESERVED, *mail, *dict.fromkeys(saved)), environment)


def _unknown(path: KeyPath, text: str, known: Sequence[str], environment: Mapping[str, str]) -> Iterator[Fault]:
    if placeholders.is_unclosed(text):
        yield Fault(path, "has a ${ without a }: add the }, or write $${ for the text ${")
    for name in placeholders.names(text):
        if name in known:
            continue
        if name.startswith("env."):
            variable = name.removeprefix("env.")
            if variable not in environment:
                yield Fault(path, f"the environment variable {variable} is not set")
        else:
            hint = did_you_mean(name, known)
            yield Fault(path, f"${{{name}}} is not known here{hint} (known: {', '.join([*known, 'env.NAME'])})")
