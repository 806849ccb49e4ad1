"""`fastbg explain`: a page of the documentation, or the passages about a word.

The pages are the Markdown files in `fastbg/docs`. A word is explained by a heading of its own, or by a row of a table
whose first cell has it in backticks.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from fastbg.errors import FastbgError
from fastbg.text import did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MAX_WIDTH = 100  # columns; longer lines are hard to read
WORD_WIDTH = 26  # columns of a table's first cells

_FENCE = "```"
_HEADING = re.compile(r"(#{1,6}) (.*)")
_CODE = re.compile(r"`([^`]+)`")
_CELL_END = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)]*)\)")
_PAGE_LINK = re.compile(r"(\w+)\.md(#.*)?")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a page that belong together. ``level``: of a heading, from 1."""

    kind: Literal["heading", "table", "code", "text"]
    lines: tuple[str, ...]
    level: int = 0

    @property
    def title(self) -> str:
        """The text of a heading."""
        return self.lines[0].lstrip("# ").replace("`", "")

    @property
    def rows(self) -> Sequence[str]:
        """The lines of a table below its header and the line under it."""
        return self.lines[2:]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a page."""

    page: str
    blocks: tuple[Block, ...]


Pages = Mapping[str, tuple[Block, ...]]


def explain(topic: str) -> int:
    """Show a page or the passages about a word, without a ``topic`` the list of pages; 0. Raises `FastbgError`."""
    pages = read_pages()
    passages = find(topic, pages) if topic else ()
    if topic and not passages:
        raise FastbgError(
            f"no page explains {topic!r}{did_you_mean(name_of(topic), names(pages))}",
            where="the argument TOPIC",
            remedy="`fastbg explain` lists the pages",
        )
    show(passages) if topic else show_contents(pages)
    return 0


def read_pages() -> Pages:
    """Name to content of each page."""
    files = resources.files("fastbg").joinpath("docs").iterdir()
    return {
        file.name.removesuffix(".md"): tuple(blocks(file.read_text("utf-8")))
        for file in sorted(files, key=lambda file: file.name)
    }


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a Markdown text."""
    lines: list[str] = []
    kind: Literal["table", "code", "text"] = "text"
    in_code = False
    for line in text.splitlines():
        heading = None if in_code else _HEADING.fullmatch(line)
        fence = line.startswith(_FENCE)
        found: Literal["table", "code", "text"] = (
            "code" if in_code or fence else "table" if line.startswith("|") else "text"
        )
        in_code ^= fence
        if lines and (heading or found != kind):
            yield Block(kind, tuple(lines))
            lines = []
        kind = found
        if heading:
            yield Block("heading", (line,), len(heading[1]))
        elif line or lines:
            lines.append(line)
    if lines:
        yield Block(kind, tuple(lines))


def find(topic: str, pages: Pages) -> Sequence[Passage]:
    """The page of that name, else the passages under such a heading, else the table rows about such a word."""
    wanted = name_of(topic)
    if wanted in pages:
        return (Passage(wanted, pages[wanted]),)
    return tuple(sections(wanted, pages)) or tuple(rows(wanted, pages))


def name_of(code: str) -> str:
    """What people type for ``code``: "repeat" for "--repeat", "mark" for "${mark}", "wait" for "wait(timeout=3)"."""
    name = code.casefold().removeprefix("fastbg ").partition("(")[0].strip("`-${} ")
    return name or code.casefold()


def sections(wanted: str, pages: Pages) -> Iterator[Passage]:
    """The headings of that name, each with what is below it up to the next heading of its level or above."""
    for page, content in pages.items():
        for start, block in enumerate(content):
            if block.kind == "heading" and name_of(block.title) == wanted:
                later = range(start + 1, len(content))
                ends = (at for at in later if 0 < content[at].level <= block.level)
                yield Passage(page, content[start : next(ends, len(content))])


def rows(wanted: str, pages: Pages) -> Iterator[Passage]:
    """The table rows about that word, each table with its header and the heading above it."""
    for page, content in pages.items():
        heading: tuple[Block, ...] = ()
        for block in content:
            if block.kind == "heading":
                heading = (block,)
            hits = [row for row in block.rows if wanted in words(row)] if block.kind == "table" else []
            if hits:
                yield Passage(page, (*heading, Block("table", (*block.lines[:2], *hits))))


def words(row: str) -> Sequence[str]:
    """The words that a row of a table explains."""
    return [name_of(code) for code in _CODE.findall(cells(row)[0])]


def cells(row: str) -> Sequence[str]:
    """The cells of a row."""
    return [cell.strip().replace(r"\|", "|") for cell in _CELL_END.split(row.strip()[1:-1])]


def names(pages: Pages) -> Iterator[str]:
    """Everything that `find` finds."""
    for page, content in pages.items():
        yield page
        for block in content:
            if block.kind == "heading":
                yield name_of(block.title)
            elif block.kind == "table":
                yield from (word for row in block.rows for word in words(row))


def show_contents(pages: Pages) -> None:
    """Print each page's name and first sentence."""
    texts = {page: next(block for block in content if block.kind == "text") for page, content in pages.items()}
    lines = [f"| `{page}` | {text.lines[0].partition('. ')[0]} |" for page, text in texts.items()]
    table = Block("table", ("| topic | about |", "| --- | --- |", *lines))
    ways = Block(
        "text", ("`fastbg explain TOPIC` shows a page, `fastbg explain WORD` what the pages say about a word.",)
    )
    _print(_rendered((table, ways)))


def show(passages: Iterable[Passage]) -> None:
    """Print the passages; below those of one page how to see all of it."""
    for page, of_page in groupby(passages, key=lambda passage: passage.page):
        content = [block for passage in of_page for block in passage.blocks]
        if content[0].level != 1:
            content.append(Block("text", (f"Whole page: `fastbg explain {page}`",)))
        _print(_rendered(content))


def _print(parts: Iterable["RenderableType"]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for part in parts:
        console.print(part, width=min(console.width, MAX_WIDTH))
        console.print()


def _rendered(content: Iterable[Block]) -> Iterator["RenderableType"]:
    from rich.markdown import Markdown
    from rich.text import Text

    for block in content:
        if block.kind == "heading":
            yield Text.assemble(("#" * block.level + " ", "dim"), (block.title, "bold"))
        elif block.kind == "table":
            yield _table(block)
        else:
            text = "\n".join(block.lines)
            text = text if block.kind == "code" else for_terminal(text)
            if text.strip():
                yield Markdown(text, hyperlinks=False)


def _table(block: Block) -> "RenderableType":
    """A table as Rich draws it; Rich's own Markdown does so only from 13.4 on."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for number, title in enumerate(cells(block.lines[0])):
        table.add_column(title, max_width=None if number else WORD_WIDTH)
    for row in block.rows:
        table.add_row(*map(_cell, cells(row)))
    return table


def _cell(text: str) -> "Text":
    from rich.text import Text

    plain, *rest = _CODE.split(for_terminal(text))
    cell = Text(plain)
    for code, more in zip(rest[::2], rest[1::2], strict=True):
        cell.append(code, style="markdown.code").append(more)
    return cell


def for_terminal(text: str) -> str:
    """``text`` without pictures; its links to other pages name the command that shows them."""

    def replace(link: re.Match[str]) -> str:
        picture, label, address = link.groups()
        page = _PAGE_LINK.fullmatch(address)
        if page:
            return f"{label} (`fastbg explain {page[1]}`)"
        if address.startswith("http"):
            return link[0]
        return "" if picture else label

    return _LINK.sub(replace, text)
