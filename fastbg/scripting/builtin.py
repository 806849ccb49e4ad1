"""The built-in scripts, and the search for a script by name or file."""

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.errors import ScriptError, install_command
from fastbg.text import did_you_mean

if TYPE_CHECKING:
    from fastbg.scripting.reader import Source

DEFAULT = "default"
ALL = "all"
_FOLDER = Path(str(resources.files("fastbg.scripts")))


def built_in() -> list[str]:
    """Return the names of the built-in scripts."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def listed(environment: Mapping[str, str]) -> "dict[str, list[Source]]":
    """Return the built-in scripts by group; the group of the default script comes first."""
    groups: dict[str, list[Source]] = {}
    for name in built_in():
        source = script(name, environment)
        groups.setdefault(source.script.group, []).append(source)
    first = script(DEFAULT, environment).script.group
    return dict(sorted(groups.items(), key=lambda item: (item[0] != first, item[0])))


def missing_extra(source: "Source", environment: Mapping[str, str]) -> str | None:
    """Return the extra of fastbg that ``source`` needs and that is not installed, or None."""
    script = source.script
    if script.mail is not None and "FASTBG_SMTP" not in environment and find_spec("aiosmtpd") is None:
        return "mail"
    commands = [script.command, *(part.command for part in script.parts)]
    needs_gunicorn = any(command and command[0] == "gunicorn" for command in commands)
    return "gunicorn" if needs_gunicorn and not (find_spec("gunicorn") and find_spec("uvicorn_worker")) else None


def _without_queue(source: "Source") -> "Source":
    """Remove the parts that need a worker."""
    from fastbg.scripting.selection import narrow, places

    skipped = {number: part.name for number, part in enumerate(source.script.parts) if part.worker is not None}
    if not skipped:
        return source
    remark = f"skipped parts that need {install_command('queue')}: {', '.join(skipped.values())}"
    kept = [place for place in places(source.script) if place[0] not in skipped]
    return replace(narrow(source, kept), remarks=(remark,))


def script(name: str, environment: Mapping[str, str]) -> "Source":
    """Return what can run here of a script, or of one part of it: ``SCRIPT:PART``. Raises `ScriptError`."""
    name, part = split_part(name)
    source = whole_script(name, environment)
    if name in built_in() and not find_spec("taskiq_nats"):
        source = _without_queue(source)
    if part is None:
        return source
    from fastbg.scripting.selection import only_part

    return only_part(source, part)


def split_part(name: str) -> tuple[str, str | None]:
    """Split ``SCRIPT:PART``. The longest name of an existing script wins."""
    ends = [len(name), *(found.start() for found in reversed([*re.finditer(":", name)]))]
    end = next((end for end in ends if _exists(name[:end])), len(name))
    return name[:end], name[end + 1 :] if end < len(name) else None


def _exists(name: str) -> bool:
    return name in built_in() or Path(name).is_file()


def whole_script(name: str, environment: Mapping[str, str]) -> "Source":
    """Return the built-in script ``name``, or the script in the file ``name``. Raises `ScriptError`."""
    from fastbg.scripting.reader import read_script, read_script_file  # not needed for the names alone

    if name in built_in():
        path = _FOLDER / f"{name}.toml"
        return read_script(path.read_text("utf-8"), f"{name}.toml", _FOLDER, environment)
    if not name.endswith(".toml") and not Path(name).is_file():
        known = built_in()
        raise ScriptError(
            f"unknown script {name!r}{did_you_mean(name, known)}",
            where="the argument SCRIPT",
            remedy=f"choose a .toml file, or one of {', '.join(known)}",
        )
    return read_script_file(Path(name), environment)
