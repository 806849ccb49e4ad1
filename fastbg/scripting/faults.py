"""The faults of a script, and the keys and values in their messages. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of
from fastbg.scripting.toml_writer import BARE_KEY


@dataclass(frozen=True, slots=True)
class Fault:
    """An error at the key ``path`` (names, and indexes from 0): ``what`` is one sentence without a full stop."""

    path: KeyPath
    what: str


def key_text(path: KeyPath) -> str:
    """Return a key path for messages: ``request[2].expect.verdict``, with numbers from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + (part if BARE_KEY.fullmatch(part) else describe_value(part))
    return text or "the script"


def describe_faults(faults: Iterable[Fault], lines: Mapping[KeyPath, int], where: str) -> list[str]:
    """Return the faults as ``FILE:LINE: KEY: what``, in the order of their lines."""
    placed = sorted({(line_of(fault.path, lines), key_text(fault.path), fault.what) for fault in faults})
    return [f"{where}:{line}: {name}: {what}" for line, name, what in placed]


def describe_value(value: object) -> str:
    """Return a value as one line of TOML, truncated if it is long."""
    match value:
        case bool():
            text = str(value).lower()
        case Mapping():
            text = "a table" if value else "an empty table"
        case list():
            text = "an array" if value else "an empty array"
        case str():
            text = json.dumps(value[:100], ensure_ascii=False)
        case int() if value.bit_length() > 256:  # Python limits the digits of decimal numbers
            text = hex(value)
        case _:
            text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
