"""HTML whose texts are escaped: a `str` becomes text, only a `Markup` is inserted as it is."""

import html
from collections.abc import Iterable

from fastbg.text import escape_control

_VOID = {"input", "link", "meta"}


class Markup(str):
    """A piece of HTML."""

    __slots__ = ()


Child = str | Markup | None


def element(tag: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """Return an element. Control characters of texts are escaped, too.

    ``attributes``: ``data_x`` becomes ``data-x``, and ``class_`` becomes ``class``; True has no value, False and None
    are left out.
    """
    start = "".join(map(_attribute, attributes, attributes.values()))
    content = "".join(map(_text, children))
    return Markup(f"<{tag}{start}>" if tag in _VOID else f"<{tag}{start}>{content}</{tag}>")


def joined(children: Iterable[Child]) -> Markup:
    """Return ``children`` one after another, without an element around them."""
    return Markup("".join(map(_text, children)))


def link(address: str) -> Markup:
    """Return a link if ``address`` is one of the web, else its text: a script may have any text as link."""
    if not address.startswith(("https://", "http://")):
        return joined([address])
    return element("a", address, href=address, rel="noreferrer noopener")


def prose(text: str) -> Markup:
    """Return a text of a script, in which backticks mark code."""
    return joined(element("code", piece) if number % 2 else piece for number, piece in enumerate(text.split("`")))


def _text(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else html.escape(escape_control(child))


def _attribute(name: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(escape_control(value))}"'
