"""Finds the line and the likely cause of a syntax error in TOML. Pure.

The messages are those of `tomllib`.
"""

import re
from collections.abc import Callable, Sequence

MAX_CAUSE = 120  # characters

_CURLY_QUOTES = tuple("“”„‟‘’‚‛«»`´")
_HEADER = re.compile(r"\[\[?[^\[\]]*\]?\]?(#.*)?$")
_ASSIGNMENT = re.compile(r"""[\w."'-]+\s*=(?!=)""")
_UNTERMINATED = ("Unterminated string", 'Expected "\'"', "Expected \"'''\"")
_OPEN_LITERALS = ('"""', "'''")


def mistaken_line(lines: Sequence[str], number: int, column: int, message: str) -> int:
    """Return the number of the line to correct: for an unclosed bracket or text, the line that opens it.

    ``number``, ``column``: the place of the error, from 1.
    """
    rest = lines[number - 1][column - 1 :].strip()
    if message.startswith("Unclosed array") and _ends_outside(rest):
        return _opening_line(lines, number if column > 1 else number - 1, "[", "]") or number
    if message.startswith("Unclosed inline table") and column == 1:
        return _opening_line(lines, number - 1, "{", "}") or number
    if message.startswith("Invalid value") and not rest:
        return _opening_line(lines, number, "[", "]") or number
    if message.startswith(_UNTERMINATED):
        opens = _OPEN_LITERALS if message != _UNTERMINATED[1] else ("'",)
        before = range(number, 0, -1)
        return next((line for line in before if any(lines[line - 1].count(mark) % 2 for mark in opens)), number)
    return number


def _opening_line(lines: Sequence[str], number: int, opens: str, closes: str) -> int | None:
    """Return the last line up to ``number`` with a bracket that no later bracket closes, or None."""
    depth = 0
    for line in range(number, 0, -1):
        depth += lines[line - 1].count(closes) - lines[line - 1].count(opens)
        if depth < 0:
            return line
    return None


def _ends_outside(rest: str) -> bool:
    """Return whether ``rest`` of a line cannot be in an array: it is empty, a header or an assignment."""
    return not rest or rest.startswith("#") or bool(_HEADER.match(rest) or _ASSIGNMENT.match(rest))


def likely_cause(line: str, message: str, column: int) -> str | None:
    """Return what to do about the error ``message`` at ``column`` (from 1) of ``line``, or None."""
    rest = line[column - 1 :].strip()
    if rest.startswith(_CURLY_QUOTES):
        return 'use straight quotes: "text"'
    cause = next((find(line, rest, message) for start, find in _CAUSES.items() if message.startswith(start)), None)
    return cause if cause is None or len(cause) <= MAX_CAUSE else f"{cause[:MAX_CAUSE]}…"


def _invalid_value(line: str, rest: str, message: str) -> str:
    word = re.split(r"[\s,\]}#]", rest, maxsplit=1)[0].lower()
    if not rest or rest.startswith("#"):
        return "close the array with ]" if line.count("[") > line.count("]") else "write a value after ="
    if word in ("true", "false"):
        return f"write {word} in lower case"
    if word in ("none", "null", "nil", "undefined"):
        return "TOML has no null: remove the key"
    if word in ("yes", "no", "on", "off"):
        return f'write true or false, or the text "{word}" in quotes'
    if rest.startswith(","):
        return "remove the comma that has no value before it"
    if rest.startswith("="):
        return "write a single ="
    before = line.removesuffix(rest).partition("=")[2]
    is_inside = "[" in before or "{" in before
    text = re.split(r"[,\]}]" if is_inside else " #", rest, maxsplit=1)[0].strip()
    return f'put the text in quotes: "{text}"'


def _illegal_character(line: str, rest: str, message: str) -> str:
    if r"\n" in message:
        return "close the text with a quote, or remove a quote from it"
    return r'write the control character as an escape, such as "\t" or "\u001b"'


def _unterminated(line: str, rest: str, message: str) -> str:
    opened = next((mark for mark in _OPEN_LITERALS if mark in line), None)
    return f"close the text with {opened}" if opened else "close the text with a quote"


def _backslash(line: str, rest: str, message: str) -> str:
    return r"write \\ for each backslash, or put the text in single quotes: 'C:\folder'"


def _no_equals_sign(line: str, rest: str, message: str) -> str:
    if rest.startswith(":"):
        return "write = instead of :"
    if "=" in rest and rest[:1] not in "\"'":
        return "put the key in quotes, since it has a space or a special character"
    return "write = between the key and its value"


def _unclosed(line: str, rest: str, message: str) -> str:
    if "table" in message:
        return "write a comma between the items of the table" if rest else "close the table with }"
    return "close the array with ]" if _ends_outside(rest) else "write a comma between the items of the array"


def _key(line: str, rest: str, message: str) -> str:
    if "{" in line and (not rest or rest.startswith(("}", "#"))):
        return "a table in braces is on one line, and has no comma at its end"
    return "put the key in quotes"


def _header(line: str, rest: str, message: str) -> str:
    return "close the header with ]]" if "']]'" in message else "close the header with ]"


def _declared_twice(line: str, rest: str, message: str) -> str:
    name = line.strip().strip("[] ")
    if name.rpartition(".")[2] in ("request", "part", "writes", "files"):
        return f"write [[{name}]] for each of several tables"
    return f"move the keys of both [{name}] into one table"


def _overwritten(line: str, rest: str, message: str) -> str:
    if line.lstrip().startswith("[["):
        name = line.strip().strip("[] ")
        return f"write [[{name}]] with two brackets in all places, also above"
    return f"remove one of the two values of {line.partition('=')[0].strip(' []')}"


def _after_statement(line: str, rest: str, message: str) -> str:
    value = line.partition("=")[2].strip()
    if rest.startswith(","):
        return "remove the comma at the end" if rest == "," else "put several values in an array: [1, 2]"
    if _ASSIGNMENT.match(rest):
        return "write each key on a line of its own"
    if value.startswith("'"):
        return "put the text in double quotes, since it contains a single quote"
    if value.startswith('"'):
        return r"write \" for a quote inside a text, or remove what follows the text"
    return f'put the text in quotes: "{value}"'


def _invalid_statement(line: str, rest: str, message: str) -> str:
    if rest.startswith(("//", "/*", ";")):
        return "begin a comment with #"
    if rest.startswith("="):
        return "write a key before ="
    return 'write each setting as key = value, such as app = "main:app"'


_CAUSES: dict[str, Callable[[str, str, str], str]] = {
    "Invalid value": _invalid_value,
    "Illegal character": _illegal_character,
    "Found invalid character": _illegal_character,
    **dict.fromkeys(_UNTERMINATED, _unterminated),
    "Unescaped": _backslash,
    "Invalid hex value": _backslash,
    "Escaped character": _backslash,
    "Expected '=' after a key": _no_equals_sign,
    "Unclosed": _unclosed,
    "Invalid initial character for a key part": _key,
    "Expected ']": _header,
    "Cannot declare": _declared_twice,
    "Cannot overwrite": _overwritten,
    "Duplicate inline table key": _overwritten,
    "Cannot mutate": _overwritten,
    "Expected newline": _after_statement,
    "Invalid statement": _invalid_statement,
}
