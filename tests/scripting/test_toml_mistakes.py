"""Syntax errors of a script: the line to correct, and what to do."""

from pathlib import Path

import pytest

from fastbg.errors import ScriptError
from fastbg.scripting.reader import read_script
from fastbg.scripting.toml_mistakes import likely_cause

COMMA = "write a comma between the items of the "
QUOTES = "put the text in quotes: "
BACKSLASH = r"write \\ for each backslash, or put the text in single quotes: 'C:\folder'"


def refused(text: str) -> tuple[str, str, tuple[str, ...]]:
    with pytest.raises(ScriptError) as caught:
        read_script(text, "my.toml", Path(), {})
    assert caught.value.what.startswith("the script is not valid TOML: ")
    return caught.value.where.removeprefix("my.toml:"), caught.value.remedy, caught.value.details


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("path = /orders/${mark}", f'{QUOTES}"/orders/${{mark}}"'),
        ("method = POST  # send", f'{QUOTES}"POST"'),
        ("follow = [log.txt, b]", f'{QUOTES}"log.txt"'),
        ("status = 200 OK", f'{QUOTES}"200 OK"'),
        ("timeout = 5s", f'{QUOTES}"5s"'),
        ("flag = True", "write true in lower case"),
        ("flag = [FALSE]", "write false in lower case"),
        ("flag = yes", 'write true or false, or the text "yes" in quotes'),
        ("json = None", "TOML has no null: remove the key"),
        ("name =", "write a value after ="),
        ("status == 200", "write a single ="),
        ('a = ["x", , "y"]', "remove the comma that has no value before it"),
        ('name = "order', "close the text with a quote, or remove a quote from it"),
        ("name = 'order", "close the text with a quote"),
        ('name = "x\x07"', r'write the control character as an escape, such as "\t" or "\u001b"'),
        ("name = “order”", 'use straight quotes: "text"'),
        ("name = ‘order’", 'use straight quotes: "text"'),
        (r'folder = "C:\data"', BACKSLASH),
        (r'folder = "C:\Users"', BACKSLASH),
        ('name: "order"', "write = instead of :"),
        ('headers = { A: "b" }', "write = instead of :"),
        ('name "order"', "write = between the key and its value"),
        ("my name = 1", "put the key in quotes, since it has a space or a special character"),
        ("${key} = 1", 'write each setting as key = value, such as app = "main:app"'),
        ("env.${key} = 1", "put the key in quotes"),
        ('follow = ["a" "b"]', f"{COMMA}array"),
        ('env = { A = "1" B = "2" }', f"{COMMA}table"),
        ("[[request]", "close the header with ]]"),
        ("[request", "close the header with ]"),
        ('name = "say "hi" now"', r"write \" for a quote inside a text, or remove what follows the text"),
        ("name = 'it's'", "put the text in double quotes, since it contains a single quote"),
        ('name = "order",', "remove the comma at the end"),
        ("status = 200, 201", "put several values in an array: [1, 2]"),
        ('name = "order" path = "/"', "write each key on a line of its own"),
        ("// comment", "begin a comment with #"),
        ("= 3", "write a key before ="),
        ('{"app": "main:app"}', 'write each setting as key = value, such as app = "main:app"'),
    ],
)
def test_line_of_a_syntax_error_is_shown_with_what_to_do(line: str, remedy: str) -> None:
    assert refused(f'app = "main:app"\n\t{line}\nlast = 1\n') == ("2", remedy, (line,))


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ('name = "a"\nname = "b"\n', "2", "remove one of the two values of name"),
        ("[server]\nloop = 1\n[server]\n", "3", "move the keys of both [server] into one table"),
        ('[[request]]\npath = "/"\n[request]\n', "3", "write [[request]] for each of several tables"),
        ("[request]\n[[request]]\n", "2", "write [[request]] with two brackets in all places, also above"),
        ('follow = [\n  "a",\n  "b"\n\n[[request]]\n', "1", "close the array with ]"),
        ('follow = ["a"\npath = "/"\n', "1", "close the array with ]"),
        ('one = [\n  1,\n]\nfollow = [\n  "a",\n\n', "4", "close the array with ]"),
        ("one = [\n  1,\n]\nfollow =\n", "4", "write a value after ="),
        ('about = """\nlong\n[[request]]\npath = "/"\n', "1", 'close the text with """'),
        ("about = '''\nlong\n\n", "1", "close the text with '''"),
    ],
)
def test_error_is_at_the_line_that_is_to_be_corrected(text: str, line: str, remedy: str) -> None:
    assert refused(text)[:2] == (line, remedy)


def test_unknown_message_has_no_cause() -> None:
    assert likely_cause("a = 1", "Something new", 1) is None


def test_long_line_is_cut_and_quick_to_read() -> None:
    _, remedy, (shown,) = refused("a = x" + "=[" * 100_000)
    assert (len(shown), len(remedy), remedy[:23]) == (100, 121, "put the text in quotes:")
