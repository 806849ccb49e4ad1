"""The README and the pages of the documentation, as tests read them."""

import re

from tests.support.servers import ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = {path.stem: path for path in sorted((ROOT / "fastbg" / "docs").glob("*.md"))}
DOCUMENTS = (README, CONTRIBUTING, *PAGES.values())


def page(name: str) -> str:
    """The text of a page."""
    return PAGES[name].read_text("utf-8")


def section(text: str, title: str) -> str:
    """What is below a heading, up to the next one of its level or above."""
    lines = without_blocks(text).splitlines()
    start = next(at for at, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(title)}", line))
    level = len(lines[start].partition(" ")[0])
    later = range(start + 1, len(lines))
    end = next((at for at in later if re.match(rf"#{{1,{level}}} ", lines[at])), len(lines))
    return "\n".join(text.splitlines()[start + 1 : end])


def without_blocks(text: str) -> str:
    """``text`` with its code blocks blanked, in as many lines."""
    return re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
