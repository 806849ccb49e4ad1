"""The faults of a script, and how a message names keys and shows values. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastbg.scripting.placeholders import KeyPath
from fastbg.scripting.toml_lines import line_of
from fastbg.scripting.toml_writer import BARE_KEY


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at the key ``path`` (names, and numbers from 0 in arrays): one sentence without a full stop."""

    path: KeyPath
    what: str


def key_text(path: KeyPath) -> str:
    """A key path as people write it: ``request[2].expect.verdict``, numbers from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + (part if BARE_KEY.fullmatch(part) else describe_value(part))
    return text or "the script"


def describe_faults(faults: Iterable[Fault], lines: Mapping[KeyPath, int], where: str) -> list[str]:
    """The faults as ``FILE:LINE: KEY: what``, in the order of their lines."""
    placed = sorted({(line_of(fault.path, lines), key_text(fault.path), fault.what) for fault in faults})
    return [f"{where}:{line}: {name}: {what}" for line, name, what in placed]


def describe_value(value: object) -> str:
    """A value as it may stand in TOML, in one line, cut where it is long."""
    match value:
        case bool():
            text = str(value).lower()
        case Mapping():
            text = "a table" if value else "an empty table"
        case list():
            text = "an array" if value else "an empty array"
        case str():
            text = json.dumps(value[:100], ensure_ascii=False)
        case int() if value.bit_length() > 256:  # Python writes no endless decimal numbers
            text = hex(value)
        case _:
            text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
