"""What the shape of a script does not say: keys that exclude or need one another, names that have to be known.

Told of the data as TOML gave it, so that these faults are found beside those of the shape. Whatever has the wrong
shape is passed over here. Pure, but for a look whether the files that a script uploads are there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Any

from fastbg.scripting import placeholders
from fastbg.scripting.faults import Fault, describe_value
from fastbg.scripting.placeholders import KeyPath
from fastbg.text import did_you_mean

BODIES = ("json", "form", "files", "body")
MAIL = ("mail.host", "mail.port")
RESERVED = ("mark", "dir")
NAME_CHARACTER = r"[\w!#$%&'*+.^`|~-]"  # of headers and cookies, of ASCII: RFC 9110, 5.6.2

_TOKEN = re.compile(rf"(?:{NAME_CHARACTER}|\$\{{[^{{}}]*\}})+", re.ASCII)  # or placeholders


def check(data: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> list[Fault]:
    """The faults in ``data``. ``folder``: of the script. ``environment``: what ``${env.NAME}`` may name."""
    return [
        *_numbers(data),
        *_target(data),
        *_folder(data, folder),
        *_requests(data, folder),
        *_placeholders(data, environment),
    ]


Table = tuple[KeyPath, Mapping[str, Any]]


def parts(data: Mapping[str, Any]) -> list[Table]:
    """Each part with its path, or the whole script where it has none."""
    return _tables(data.get("part"), "part") or [((), data)]


def _tables(value: object, *path: str | int) -> list[Table]:
    """The tables in the array ``value``, each with its path: ``path`` and its number."""
    items = value if isinstance(value, list) else []
    return [((*path, number), item) for number, item in enumerate(items) if isinstance(item, Mapping)]


def _numbers(data: Mapping[str, Any]) -> Iterator[Fault]:
    for path, value in placeholders.leaves(data):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield Fault(
                path, f"found {describe_value(value)}, but a whole number of TOML has 64 bits: put it in quotes"
            )


def _target(data: Mapping[str, Any]) -> Iterator[Fault]:
    if "part" in data and "request" in data:
        yield Fault(("request",), "a script has parts or requests, not both: put these into a [[part.request]]")
    elif not data.get("request", []) and not data.get("part", []):
        yield Fault((), "has no request: add [[request]] with a name and a path")
    if "url" in data:
        for path, table in [((), data), *_tables(data.get("part"), "part")]:
            for key in ("app", "env", "server", "worker"):
                if key in table:
                    yield Fault((*path, key), f"url names a server that runs already: leave url or {key} out")
    elif "app" not in data and isinstance(data.get("part", []), list):
        for path, part in parts(data):
            if "app" not in part:
                yield Fault(path, 'names no app: add app = "module:attribute", or url = "http://…" at the top')


def _folder(data: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    name = data.get("folder", ".")
    if (
        isinstance(name, str)
        and not placeholders.names(name)
        and not _is_there(folder / placeholders.fill_text(name, {}), folder=True)
    ):
        yield Fault(("folder",), f"there is no folder {folder / name}")


def _is_there(path: Path, *, folder: bool) -> bool:
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:  # too long a name, a folder that may not be looked into
        return False


def _requests(data: Mapping[str, Any], folder: Path) -> Iterator[Fault]:
    follow = data.get("follow")
    files = [*(follow if isinstance(follow, list) else []), data.get("mail")]
    base = folder / data.get("folder", ".") if isinstance(data.get("folder", "."), str) else folder
    for part_path, part in parts(data):
        seen: set[object] = set()
        for path, request in _tables(part.get("request"), *part_path, "request"):
            name = request.get("name")
            if isinstance(name, str) and name in seen:
                yield Fault((*path, "name"), f"another request has the name {describe_value(name)} already")
            seen.add(name if isinstance(name, str) else None)
            yield from _request(path, request, [str(file) for file in files if file], base)
            signal = request.get("signal")
            to = signal.get("to", "server") if isinstance(signal, Mapping) else "server"
            if to in ("worker", "broker") and "worker" not in part:
                yield Fault((*path, "signal", "to"), f"the part has no {to}: name Taskiq's broker as its worker")
            if "signal" in request and "url" in data:
                yield Fault((*path, "signal"), "url names a server that is not ours to signal: leave signal out")


def _request(path: KeyPath, request: Mapping[str, Any], files: Sequence[str], base: Path) -> Iterator[Fault]:
    yield from _json((*path, "json"), request.get("json"))
    for table in ("headers", "cookies"):
        yield from _printable((*path, table), request.get(table))
    bodies = [key for key in request if key in BODIES]
    if len(bodies) > 1 and set(bodies) != {"form", "files"}:
        yield Fault((*path, bodies[1]), f"a request has one body, found {' and '.join(bodies)}")
    repeat, concurrency = request.get("repeat", 1), request.get("concurrency", 0)
    if isinstance(repeat, int) and isinstance(concurrency, int) and concurrency > repeat:
        yield Fault(
            (*path, "concurrency"),
            f"found {describe_value(concurrency)}, expected at most repeat ({describe_value(repeat)})",
        )
    if isinstance(concurrency, int) and concurrency > 1 and "connection" in request:
        yield Fault((*path, "connection"), "one connection carries one request at a time: leave concurrency out")
    for place, upload in _tables(request.get("files"), *path, "files"):
        yield from _one_of(place, upload, "text", "path")
        name = upload.get("path")
        if (
            isinstance(name, str)
            and not placeholders.names(name)
            and not _is_there(base / placeholders.fill_text(name, {}), folder=False)
        ):
            yield Fault((*place, "path"), f"there is no file {base / name}")
    expect = request.get("expect")
    if isinstance(expect, Mapping):
        yield from _json((*path, "expect", "body"), expect.get("body"))
        yield from _expect((*path, "expect"), expect, files)


def _json(path: KeyPath, value: object) -> Iterator[Fault]:
    for place, leaf in placeholders.leaves(value, path):
        if isinstance(leaf, date | time):
            yield Fault(place, f"found {leaf}, but JSON has no dates: put it in quotes")
        if isinstance(leaf, float) and not isfinite(leaf):
            yield Fault(place, f"found {leaf}, but JSON has no such number")


def _printable(path: KeyPath, table: object) -> Iterator[Fault]:
    for name, value in table.items() if isinstance(table, Mapping) else ():
        if not _TOKEN.fullmatch(name):
            yield Fault((*path, name), "is no name that HTTP allows: letters, digits and !#$%&'*+-.^_`|~")
        elif isinstance(value, str) and not value.isprintable():
            yield Fault((*path, name), f"found {describe_value(value)}, but HTTP carries no control characters here")
        elif isinstance(value, str) and path[-1] == "cookies" and ";" in value:
            yield Fault((*path, name), f"found {describe_value(value)}, but a ; ends a cookie")


def _expect(path: KeyPath, expect: Mapping[str, Any], files: Sequence[str]) -> Iterator[Fault]:
    writes = _tables(expect.get("writes"), *path, "writes")
    if expect.get("verdict") == "no-work" and any(write.get("count", 1) != 0 for _, write in writes):
        yield Fault((*path, "writes"), "where there is no work there is no write: leave writes or the verdict out")
    for place, write in writes:
        yield from _one_of(place, write, "text", "pattern")
        file = write.get("file")
        if isinstance(file, str) and file not in files:
            followed = f"followed are {', '.join(files)}" if files else "none is followed"
            yield Fault(
                (*place, "file"), f"{describe_value(file)} is not followed{did_you_mean(file, files)} ({followed})"
            )
        if "within" in write and write.get("count", 1) == 0:
            yield Fault((*place, "within"), "what must not arrive needs no time: leave within out")


def _one_of(path: KeyPath, table: Mapping[str, Any], first: str, second: str) -> Iterator[Fault]:
    if first in table and second in table:
        yield Fault(path, f"has both {first} and {second}: leave one of them out")
    elif first not in table and second not in table:
        yield Fault(path, f"needs {first} or {second}")


def _placeholders(data: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Fault]:
    mail = MAIL if "mail" in data else ()
    saved: list[str] = []
    for path, text in placeholders.texts({key: item for key, item in data.items() if key not in ("part", "request")}):
        yield from _unknown(path, text, ("dir", *mail), environment)
    for part_path, part in parts(data):
        for path, text in placeholders.texts(
            {key: item for key, item in part.items() if part_path and key != "request"}
        ):
            yield from _unknown((*part_path, *path), text, ("dir", *mail), environment)
        for place, request in _tables(part.get("request"), *part_path, "request"):
            for path, text in placeholders.texts(request):
                yield from _unknown((*place, *path), text, (*RESERVED, *mail, *saved), environment)
            names = request.get("save")
            for name in names if isinstance(names, Mapping) else ():
                if name in RESERVED or not name.isidentifier():
                    yield Fault((*place, "save", name), "cannot be the name of a saved value: take another word")
                saved.append(name)


def _unknown(path: KeyPath, text: str, known: Sequence[str], environment: Mapping[str, str]) -> Iterator[Fault]:
    if placeholders.is_torn(text):
        yield Fault(path, "has a ${ that no } ends: write $${ where it is meant as it is")
    for name in placeholders.names(text):
        if name in known:
            continue
        if name.startswith("env."):
            variable = name.removeprefix("env.")
            if variable not in environment:
                yield Fault(path, f"the environment variable {variable} is not set")
        else:
            meant = did_you_mean(name, known)
            yield Fault(path, f"${{{name}}} is not known here{meant} (known: {', '.join([*known, 'env.NAME'])})")
