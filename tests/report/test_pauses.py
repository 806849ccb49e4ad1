"""The source of a step, and texts of a script in a pause."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console, RenderableType

from fastbg.report.pauses import announcement, source_of
from fastbg.run.prepare import RequestTemplate, RunPaths
from fastbg.run.stepping import Pause, steps_of
from fastbg.scripting.reader import Source, read_script_file

SCRIPT = 'app = "shop:app"\n[[request]]\nname = "a\\u001b[31m"\npath = "/\\u202e"\nabout = "b\\u0007"\n# \u202e last\n'


def made(folder: Path) -> tuple[Source, Pause]:
    (folder / "shop.toml").write_text(SCRIPT, "utf-8")
    source = read_script_file(folder / "shop.toml", {})
    (part,) = source.script.all_parts
    return source, Pause(steps_of(part, [RequestTemplate(source, part, 0, RunPaths.of(source, folder, {}))]), 0)


def shown(*texts: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(*texts, sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_texts_of_a_script_are_escaped(tmp_path: Path) -> None:
    source, pause = made(tmp_path)
    text = shown(*announcement(pause), source_of(source, pause.steps[0]))
    assert r"1/1  a\x1b[31m  GET /\u202e" in text
    assert r"# \u202e last" in text
    assert {character for character in text if not character.isprintable()} == {"\n"}


def test_source_shows_the_marked_code(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def other(): ...\n\n\ndef mail(): ...\n", "utf-8")
    source, pause = made(tmp_path)
    part = pause.steps[0].part.model_copy(update={"code": ["mail"]})
    text = shown(source_of(source, replace(pause.steps[0], part=part)))
    assert "def mail(): ..." in text
    assert "def other" not in text
