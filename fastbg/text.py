"""Text in messages: escapes control characters, and suggests similar names.

Files, responses, scripts and exceptions may contain any character. `escape_control` is applied before such a text is
written to a terminal, a pipe or a picture. Rich gets it as `rich.text.Text`, never as markup.
"""

import re
from collections.abc import Iterable

# Unicode categories Cc, Cf, Cs, Zl and Zp, without the two joiners that emoji and several scripts need (U+200C,
# U+200D), and the noncharacters, which XML and HTML forbid. `tests/test_text.py` checks this against `unicodedata`.
_LAST_OF_PLANES = "".join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    f"{_LAST_OF_PLANES}]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape_control(text: str) -> str:
    r"""Return ``text`` on one line, with control, format and bidirectional characters as escapes.

    ``"a\x1b[31m\n"`` becomes ``r"a\x1b[31m\n"``. A text without them is returned unchanged.
    """
    return _UNSAFE.sub(_escape, text)


def did_you_mean(wrong: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean verdict?"`` if one of ``candidates`` is similar to ``wrong``, else an empty string."""
    import difflib  # only needed for error messages

    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""
