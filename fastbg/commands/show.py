"""``fastbg show``: the question of a script, its answer, the code of its app with marked lines, and its TOML."""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from fastbg.errors import ScriptError
from fastbg.report.code import code, toml
from fastbg.report.style import plain_console, typed_path
from fastbg.scripting.builtin import split_part, whole_script
from fastbg.scripting.model import Part, Script
from fastbg.scripting.reader import Source
from fastbg.scripting.source_files import app_code
from fastbg.scripting.toml_lines import text_of
from fastbg.text import did_you_mean, escape_control


def show(name: str, part: str | None, directory: Path) -> int:
    """Print a built-in script or a .toml file, or only its ``part``; 0. Raises `FastbgError`.

    ``directory``: the data folder, for ``${dir}``.
    """
    name, named_part = split_part(name)
    part = part if part is not None else named_part
    source = whole_script(name, os.environ)
    parts = source.script.all_parts if part is None else _named(part, source)
    console = plain_console()
    for section in (
        _introduction(source.script, parts, part),
        _app(source, parts, part, directory),
        _toml(source, parts, part),
        [Text("\n" + escape_control(f"Run it: fastbg demo {_argument(name, part)}"), style="dim")],
    ):
        for each in section:
            console.print(each, soft_wrap=not console.is_terminal)
    return 0


def _argument(name: str, part: str | None) -> str:
    return shlex.quote(name if part is None else f"{name}:{part}")


def _named(name: str, source: Source) -> Sequence[Part]:
    found = [part for part in source.script.parts if part.name == name]
    if not found:
        known = [part.name for part in source.script.parts]
        raise ScriptError(
            f"the script has no part {name!r}{did_you_mean(name, known)}",
            where=f"--part, for {source.name}",
            remedy=f"choose one of: {'; '.join(known)}" if known else "remove --part: this script has no parts",
        )
    return found


def _introduction(script: Script, parts: Sequence[Part], only: str | None) -> Iterator[RenderableType]:
    """Yield the question; then the answer, the links and all parts, or ``only`` what is said about one part."""
    if script.title:
        yield Text(escape_control(script.title), style="bold")
    if only is None:
        if script.about:
            yield Text("\n" + escape_control(script.about))
        yield from (Text(escape_control(link), style="dim") for link in script.links)
    if script.parts:
        yield Text()
    for part in parts if script.parts else ():
        yield Text.assemble(
            (escape_control(part.name), "bold"), escape_control(f": {part.about}" if part.about else "")
        )


def _app(source: Source, parts: Sequence[Part], only: str | None, directory: Path) -> Iterator[RenderableType]:
    known = {"dir": str(directory), **{f"env.{name}": value for name, value in os.environ.items()}}
    app = app_code(source, parts, known)
    for file in app.files:
        yield _heading("App", Path(file.path))
        yield code(file, only)
    if app.notes:
        yield Text("\n" + "\n".join(map(escape_control, app.notes)), style="yellow")


def _toml(source: Source, parts: Sequence[Part], only: str | None) -> Iterator[RenderableType]:
    yield _heading("Script", source.folder / Path(source.name).name)
    if only is None:
        yield toml(source.text)
    for part in parts if only is not None else ():
        path = ("part", source.script.parts.index(part))
        yield toml(text_of(path, source.text, source.lines))


def _heading(what: str, path: Path) -> Text:
    return Text.assemble("\n", (f"{what}: ", "bold"), (escape_control(typed_path(path)), "bold"), "\n")
