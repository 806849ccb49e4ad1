"""Texts that attack a terminal, a file format or a reader, and a check for characters that were not escaped."""

import re
from html.parser import HTMLParser

from fastbg.text import escape_control

CSI, OSC, DCS, APC, PM, SOS, ST = "\x9b", "\x9d", "\x90", "\x9f", "\x9e", "\x98", "\x9c"

FORGED = "fastbg: all is well"

HOSTILE: dict[str, str] = {
    # for a terminal
    "every C0 control": "".join(map(chr, range(0x20))) + "\x7f",
    "every C1 control": "".join(map(chr, range(0x80, 0xA0))),
    "colours": "\x1b[38;5;201;7;5mx\x1b[0m",
    "clear the screen": "\x1b[2J\x1b[H\x1b[3J",
    "overwrite earlier output": "\x1b[1A\x1b[2K\x1b[1;1Hok",
    "query the cursor position": "\x1b[6n\x1b[c",
    "alternate screen, no cursor": "\x1b[?1049h\x1b[?25l",
    "two-byte escapes": "\x1bc\x1b7\x1b8\x1b(0\x1bN\x1bO",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "link of a terminal": "\x1b]8;;http://evil.example/\x1b\\x\x1b]8;;\x1b\\",
    "DCS": "\x1bP$qm\x1b\\",
    "APC": "\x1b_Gf=100\x1b\\",
    "PM": "\x1b^private\x1b\\",
    "SOS": "\x1bXstring\x1b\\",
    "CSI in one byte": f"{CSI}2J{CSI}31mx",
    "OSC in one byte": f"{OSC}0;title{ST}{OSC}52;c;cm0=\x07",
    "DCS in one byte": f"{DCS}$qm{ST}",
    "APC in one byte": f"{APC}Gf=100{ST}",
    "PM in one byte": f"{PM}private{ST}",
    "SOS in one byte": f"{SOS}string{ST}",
    "unterminated sequence": "\x1b]0;never ends",
    "overwrite the line": "100 %\rok      \b\b\b",
    "a forged line": f"x\n{FORGED}\r\n",
    # for a reader
    "bidirectional controls": "a\u202a\u202b\u202c\u202d\u202eb\u2066\u2067\u2068\u2069c\u200e\u200f\u061cd",
    "invisible": "a\u200bb\u2060c\ufeffd\u00ade\u180ef",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "lone surrogates": "a\ud800b\udc80c\udfff",
    "tags": "a" + "".join(chr(0xE0000 + ord(letter)) for letter in "rm -rf") + "\U000e007f",
    "noncharacters": "a\ufffeb\uffffc\ufdd0d\U0001fffee\U0010fffff",
    "annotations": "a\ufff9b\ufffac\ufffbd",
    # for Rich, Python, XML, HTML and Markdown
    "markup of Rich": "[red]x[/red] [link=http://evil.example/]x[/link] [/] [bold",
    "emoji codes": ":smile: :skull:",
    "formats": "{0} {path!r} %s %(x)s $x ${mark}",
    "elements": "<script>alert(1)</script></pre></text></svg></testcase><img src=x onerror=x>",
    "quotes": "\" onload=\"x\" ' onload='x' `x`",
    "entities": "&lt;script&gt; &#27; &#x1b; &xxe; &",
    "sections": "]]> <![CDATA[x]]> <!-- x --> <?x?> <!DOCTYPE x>",
    "table of Markdown": "| a | b |\n| --- | --- |\n|x",
    "headings of Markdown": "# x\n## x\n---\n> x\n- x",
    "fences of Markdown": "```\nx\n~~~\n    x",
    "links of Markdown": "[x](javascript:alert(1)) ![x](http://evil.example/x.png) http://evil.example www.a.example",
}
ALL = " ".join(HOSTILE.values())

# Sequences that Rich's live display writes: colours, cursor up, clear line, hide and show the cursor; the alternate
# screen, its clearing, and the cursor's way to its start.
_RICH_SEQUENCES = re.compile(
    r"\x1b\[(?:[0-9]{1,2}(?:;[0-9]{1,2})*)?m|\x1b\[(?:1A|2K|\?25[lh])|\r(?=\x1b\[(?:2K|1A))|\x1b\[(?:\?1049[hl]|H|2J)"
)


def unescaped_in(output: bytes, kind: str) -> set[str]:
    """Return the characters that must not appear in an output of this kind: ``terminal``, ``lines`` or ``ascii``."""
    text = output.decode("utf-8", "surrogateescape")  # an invalid UTF-8 byte becomes a surrogate
    if kind == "terminal":
        text = _RICH_SEQUENCES.sub("", text.replace("\r\n", "\n"))
    found = {character for character in text if escape_control(character) != character} - {"\n"}
    if re.search(f"^{FORGED}", text, re.MULTILINE):
        found.add("\n")
    return found | ({character for character in text if not character.isascii()} if kind == "ascii" else set())


class _NestingChecker(HTMLParser):
    """An HTML parser that checks that all elements are nested correctly."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.elements.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start tag"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_html(document: str) -> tuple[set[str], str]:
    """Return the element names and the text of ``document``. Fails if elements are not nested correctly."""
    parser = _NestingChecker()
    parser.feed(document)
    parser.close()
    assert parser.open == []
    return parser.elements, parser.text
