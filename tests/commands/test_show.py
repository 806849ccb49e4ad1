"""`fastbg show`: the question, the answer, the code with marked lines, and the TOML of a script."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from fastbg.scripting.builtin import built_in, listed, whole_script
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, read_rest, terminal

SHOP = """\
raise SystemExit("this module is never imported")


def mail():
    send("你好")
"""
SCRIPT = """\
title = "Which one?"
about = "This one."
links = ["https://example.com"]
app = "shop:app"

# the trap
[[part]]
name = "trap"
about = "It sends."
code = ["send("]
request = [{ name = "one", path = "/" }]

[[part]]
name = "other app"
app = "gone:app"
request = [{ name = "two", path = "/" }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    (tmp_path / "shop.toml").write_text(SCRIPT, "utf-8")
    return tmp_path


def shown(*arguments: str, cwd: Path, columns: int = 80) -> str:
    result = fastbg("show", *arguments, cwd=cwd, COLUMNS=str(columns))
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


@pytest.mark.parametrize("name", built_in())
def test_built_in_script_is_shown_with_all_its_parts(name: str, tmp_path: Path) -> None:
    text = shown(name, cwd=tmp_path, columns=40)
    source = whole_script(name, os.environ)
    assert text.startswith(source.script.title + "\n")
    assert source.script.about in text
    assert all(f"\n{link}\n" in text for link in source.script.links)
    assert all(f"\n{part.name}: {part.about}\n" in text for part in source.script.parts)
    assert source.text in text
    assert text.endswith(f"\nRun it: fastbg demo {name}\n")


def test_marks_stand_beside_their_lines_in_a_pipe(tmp_path: Path) -> None:
    text = shown("blocking-async", cwd=tmp_path)
    assert "\ntrap   |     time.sleep(0.4)  # noqa" in text
    assert "\nremedy |     await asyncio.sleep(0.4)\n" in text
    assert "\n             write_log(f" in text
    assert "\x1b" not in text


def test_default_script_is_shown_without_a_name(tmp_path: Path) -> None:
    text = shown(cwd=tmp_path)
    assert text == shown("default", cwd=tmp_path)
    assert "\n> |     background_tasks.add_task(bg_task, framework)\n" in text


def test_own_script_is_shown_and_its_app_not_imported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    here = shown("shop.toml", cwd=folder)
    assert "App: shop.py\n" in here
    assert '\ntrap |     send("你好")\n' in here
    assert f"\nThe source of gone:app was not found, neither in {folder} nor on the module search path.\n" in here
    assert "Script: shop.toml\n" in here
    assert here.endswith(SCRIPT + "\nRun it: fastbg demo shop.toml\n")
    elsewhere = shown(str(folder / "shop.toml"), cwd=tmp_path_factory.mktemp("elsewhere"))
    assert f"App: {folder / 'shop.py'}\n" in elsewhere


def test_part_shows_only_what_belongs_to_it(folder: Path) -> None:
    text = shown("shop.toml", "--part", "trap", cwd=folder)
    assert text == (
        "Which one?\n\ntrap: It sends.\n\nApp: shop.py\n\n"
        '       def mail():\ntrap |     send("你好")\n\nScript: shop.toml\n\n'
        + SCRIPT[SCRIPT.index("# the trap") : SCRIPT.index('\n[[part]]\nname = "other')]
        + "\nRun it: fastbg demo shop.toml:trap\n"
    )
    queue = shown("sigkill", "--part", "queue, server killed", cwd=folder)
    assert "sigkill_queue.py\n\n1 = queue, server killed\n" in queue
    assert "\n1 |     await ship.kiq(order)\n" in queue
    assert "sigkill.py" not in queue


@pytest.mark.parametrize(
    ("script", "part", "messages"),
    [
        ("inline", "trp", ["no part 'trp'; did you mean trap?", "--part, for inline.toml", "one of: trap; remedy"]),
        ("inline", "x\x1b", [r"no part 'x\x1b'"]),
        ("default", "trap", ["no part 'trap'", "remove --part: this script has no parts"]),
    ],
)
def test_unknown_part_is_an_error_with_the_known_ones(script: str, part: str, messages: list[str]) -> None:
    result = fastbg("show", script, "--part", part)
    assert (result.returncode, result.stdout) == (2, b"")
    for message in messages:
        assert message in result.stderr.decode()


def test_unknown_script_is_the_error_of_demo() -> None:
    show, demo = (fastbg(command, "inlin\x1be") for command in ("show", "demo"))
    assert b"did you mean inline?" in show.stderr
    assert (show.returncode, show.stdout, show.stderr) == (2, b"", demo.stderr)


def test_terminal_gets_colours_and_wrapped_lines(folder: Path) -> None:
    with terminal("show", "called", columns=60, cwd=folder) as (process, screen):
        on_screen = read_rest(screen).decode()
        assert process.wait(PATIENCE_S) == 0
    assert "\x1b[1;31mtrap" in on_screen
    plain = re.sub(r"\x1b\[[\d;]*m", "", on_screen).splitlines()
    assert max(map(len, plain)) <= 60
    assert any(line.startswith("trap   |     background_tasks.add_task(send_mail(email))") for line in plain)


def test_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        command = [*FASTBG, "show", "inline"]
        result = subprocess.run(
            command, stdout=pipe, stderr=subprocess.PIPE, env=environment(), timeout=PATIENCE_S, check=False
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_list_starts_with_the_default_script(tmp_path: Path) -> None:
    output = fastbg("demo", "--list", cwd=tmp_path).stdout.decode().splitlines()
    assert output[0].split() == ["Start", "here"]
    assert output[1].split()[0] == "default"
    groups = list(listed(os.environ))
    assert groups[1:] == sorted(groups[1:])
    assert "fastbg show NAME" in output[-1]


def test_part_may_be_named_as_for_demo(tmp_path: Path) -> None:
    assert shown("inline:remedy", cwd=tmp_path) == shown("inline", "--part", "remedy", cwd=tmp_path)
