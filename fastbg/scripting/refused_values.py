"""Checks for values that h11, httpx, subprocess or the operating system would refuse in the middle of a run. Pure.

A value with placeholders is not known here. If it cannot be sent, its request says so.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastbg.scripting import placeholders
from fastbg.scripting.common_values import merged
from fastbg.scripting.faults import Fault, describe_value
from fastbg.scripting.placeholders import KeyPath
from fastbg.server.address import is_valid
from fastbg.server.settings import is_variable_name

NAME_CHARACTER = r"[\w!#$%&'*+.^`|~-]"  # of header and cookie names, ASCII: RFC 9110, 5.6.2
MAX_WORD = 128 * 1024  # bytes of a word of a command, or of NAME=value: Linux's MAX_ARG_STRLEN
MAX_TARGET = 60_000  # characters of a path; httpx refuses a URL with more than 65,536
NO_NUL = ("follow", "mail", "server", "url")  # keys with paths and addresses

_TOKEN = re.compile(rf"(?:{NAME_CHARACTER}|\$\{{[^{{}}]*\}})+", re.ASCII)  # or placeholders
_LENGTH = "content-length"


def check_fields(path: KeyPath, table: object) -> Iterator[Fault]:
    """Yield the faults in a table of headers or cookies."""
    for name, value in table.items() if isinstance(table, Mapping) else ():
        if not _TOKEN.fullmatch(name):
            yield Fault((*path, name), "is not a valid name: use letters, digits and !#$%&'*+-.^_`|~")
        elif not isinstance(value, str):
            continue
        elif not value.isprintable():
            yield Fault((*path, name), f"found {describe_value(value)}, but only printable characters are allowed")
        elif path[-1] == "cookies" and ";" in value:
            yield Fault((*path, name), f"found {describe_value(value)}, but the value of a cookie cannot contain ;")
        elif value != value.strip():
            yield Fault((*path, name), f"found {describe_value(value)}, but a value cannot begin or end with a space")
        elif path[-1] == "headers" and (reason := _refused_header(name, value)):
            yield Fault((*path, name), f"found {describe_value(value)}, but HTTP/1.1 refuses it: {reason}")


def check_type(path: KeyPath, media_type: object) -> Iterator[Fault]:
    """Yield the fault if the media type of an upload would not be one line of the body."""
    if isinstance(media_type, str) and not media_type.isprintable():
        yield Fault(path, f"found {describe_value(media_type)}, but only printable characters are allowed")


def _refused_header(name: str, value: str) -> str | None:
    import h11  # only for a script with headers

    if placeholders.names(name + value):
        return None
    host = [] if name.lower() == "host" else [(b"host", b"x")]
    try:
        h11.Request(method=b"GET", target=b"/", headers=[*host, (name.encode(), value.encode())])
    except h11.LocalProtocolError as error:
        return str(error)
    return None


def check_length(path: KeyPath, request: Mapping[str, Any], common: object) -> Iterator[Fault]:
    """Yield the fault if a Content-Length contradicts the body. ``common``: the headers of the whole script."""
    tables = [table if isinstance(table, Mapping) else {} for table in (common, request.get("headers"))]
    headers = merged("headers", *tables)
    value = next((value for name, value in headers.items() if name.lower() == _LENGTH), None)
    if not isinstance(value, str) or not value.isdecimal():
        return
    own = next((name for name in tables[1] if name.lower() == _LENGTH), None)
    place = path if own is None else (*path, "headers", own)
    if any(key in request for key in ("json", "form", "files")):
        yield Fault(place, "has a Content-Length, which fastbg computes for this body: remove the header")
        return
    body = request.get("body", "")
    if isinstance(body, str) and not placeholders.names(body):
        size = len(placeholders.fill_text(body, {}).encode())
        if size != int(value):
            yield Fault(place, f"has a Content-Length of {value}, but its body has {size} bytes: remove the header")


def check_target(path: KeyPath, target: object) -> Iterator[Fault]:
    """Yield the fault if the path of a request is not valid in a URL."""
    if isinstance(target, str) and re.search(r"[\x00-\x1f\x7f]", target):
        yield Fault(path, f"found {describe_value(target)}, but control characters are not allowed: write %00 to %1F")
    elif isinstance(target, str) and len(target) > MAX_TARGET:
        yield Fault(path, f"has {len(target):,} characters, but a path can have {MAX_TARGET:,}")


def check_url(url: object) -> Iterator[Fault]:
    """Yield the fault if the address of the server is not a URL that a client can use."""
    if isinstance(url, str) and url.startswith("http") and not placeholders.names(url) and not is_valid(url):
        yield Fault(("url",), f"found {describe_value(url)}, which is not a valid URL: write http://127.0.0.1:8000")


def check_process(path: KeyPath, table: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the faults in what a script or a part, at ``path``, passes to a process, and to the operating system."""
    env = table.get("env")
    for name, value in env.items() if isinstance(env, Mapping) else ():
        yield from _variable((*path, "env", name), name, value)
    for place, word in placeholders.texts(table.get("command"), (*path, "command")):
        yield from _word(place, word)
    for place, text in placeholders.texts({key: table[key] for key in NO_NUL if key in table}, path):
        yield from _no_nul(place, text)


def _variable(path: KeyPath, name: str, value: object) -> Iterator[Fault]:
    if not is_variable_name(name):
        yield Fault(path, "is not a valid name of an environment variable: it is empty, or has a = or a NUL character")
    elif isinstance(value, str):
        yield from _word(path, value, before=f"{name}=")


def _word(path: KeyPath, value: str, before: str = "") -> Iterator[Fault]:
    yield from _no_nul(path, value)
    if (size := len(f"{before}{value}".encode())) >= MAX_WORD:
        yield Fault(path, f"has {size:,} bytes, but the operating system takes less than {MAX_WORD:,}: use a file")


def _no_nul(path: KeyPath, text: str) -> Iterator[Fault]:
    if "\0" in text:
        yield Fault(path, f"found {describe_value(text)}, but the operating system refuses NUL characters")
