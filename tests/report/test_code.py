"""Source code with marks beside it, as plain text and on a terminal."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from fastbg.report.code import code, toml
from fastbg.scripting.source_code import SourceCode, source_code

TEXT = "import time\n\n\ndef one():\n    sleep(1)\n    return 1\n\n\ndef two():\n    sleep(2)\n"


def printed(made: RenderableType, *, width: int = 80, wrapped: bool = False, terminal: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(made, soft_wrap=not wrapped)
    return captured.get().splitlines()


def marked(*entries: tuple[str, str], text: str = TEXT) -> SourceCode:
    return source_code("shop.py", text, entries)


def test_marked_lines_have_the_names_of_their_parts() -> None:
    made = marked(("trap", "sleep(1)"), ("remedy", "two"), ("remedy", "sleep(1)"))
    assert printed(code(made)) == [
        "               import time",
        "",
        "",
        "               def one():",
        "trap, remedy |     sleep(1)",
        "                   return 1",
        "",
        "",
        "remedy       | def two():",
        "remedy       |     sleep(2)",
    ]


def test_part_has_its_own_statements_and_marks() -> None:
    made = marked(("trap", "sleep(2)"), ("trap", "import"), ("remedy", "one"), ("remedy", "sleep(2)"))
    assert printed(code(made, "trap")) == [
        "trap | import time",
        "       ...",
        "       def two():",
        "trap |     sleep(2)",
    ]


def test_code_without_marks_has_no_margin() -> None:
    assert printed(code(marked(("trap", "nothing")))) == TEXT.splitlines()
    assert printed(code(marked(), "trap")) == TEXT.splitlines()
    assert printed(code(marked(text=""))) == [""]


def test_mark_of_a_script_without_parts_has_a_sign() -> None:
    assert printed(code(marked(("", "import")), ""))[0] == "> | import time"


def test_long_names_of_parts_are_numbered() -> None:
    made = marked(("before the restart", "sleep"), ("框架框架框架框架", "sleep(2)"))
    lines = printed(code(made))
    assert lines[:4] == ["1 = before the restart", "2 = 框架框架框架框架", "", "       import time"]
    assert (lines[7], lines[-1]) == ("1    |     sleep(1)", "1, 2 |     sleep(2)")


def test_wide_characters_keep_the_margin_straight() -> None:
    lines = printed(code(marked(("框架", "import"), ("x", "def"))))
    assert (lines[0], lines[3]) == ("框架 | import time", "x    | def one():")


@pytest.mark.parametrize("width", [20, 60])
def test_long_line_is_wrapped_beside_the_margin(width: int) -> None:
    made = marked(("trap", "f("), text="if x:\n    f(" + "框架, " * 30 + "1)\n")
    lines = printed(code(made), width=width, wrapped=True)
    assert all(Console().render_str(line).cell_len <= width for line in lines)
    assert lines[1].startswith("trap |     f(")
    assert len(lines) > 3
    assert {line[:13] for line in lines[2:]} == {"trap |       "}
    assert "".join(line[7:].strip() for line in lines[1:]).replace(" ", "").count("框架,") == 30


def test_control_characters_are_escaped() -> None:
    made = marked(("tr\x1b[2Jap", "x"), text="x = '\x1b[2J\u202e'\n\ty = 1\x0c\n")
    assert printed(code(made)) == [r"tr\x1b[2Jap | x = '\x1b[2J\u202e'", r"                  y = 1\x0c"]
    coloured = "".join(printed(code(made), terminal=True))
    assert "\x1b[2J" not in coloured
    assert "\x1b[1;36mtr" in coloured


def test_terminal_gets_colours_on_its_own_background() -> None:
    made = marked(("trap", "sleep(1)"), ("remedy", "sleep(2)"))
    lines = printed(code(made), terminal=True)
    codes = {number for each in re.findall(r"\x1b\[([\d;]*)m", "\n".join(lines)) for number in each.split(";")}
    assert {number for number in codes if re.fullmatch(r"4\d|10\d", number)} <= {"49"}  # the terminal's own
    assert "\x1b[1;31mtrap" in lines[4]
    assert "\x1b[1;32mremedy" in lines[-1]
    assert [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in lines] == printed(code(made))


def test_toml_is_as_it_is_written() -> None:
    assert printed(toml('a = "框架"\r\n\r\n[b]\r\n' + "# " + "x" * 200 + "\r\n"), width=40) == [
        'a = "框架"',
        "",
        "[b]",
        "# " + "x" * 200,
    ]
