"""HTML elements: what is escaped."""

import pytest

from fastbg.page.document import json_data
from fastbg.page.markup import Markup, element, joined, link, prose


def test_texts_are_escaped_and_markup_is_not() -> None:
    assert element("p", "<b>&\x1b", Markup("<i>x</i>")) == r"<p>&lt;b&gt;&amp;\x1b<i>x</i></p>"


def test_attributes_are_escaped_and_may_have_no_value() -> None:
    made = element("a", class_='x" onclick="y', hidden=True, open=False, title=None, data_key="1")
    assert made == '<a class="x&quot; onclick=&quot;y" hidden data-key="1"></a>'


def test_element_without_content_has_no_end() -> None:
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


@pytest.mark.parametrize("address", ["javascript:alert(1)", " https://x", "data:text/html,x", "//x"])
def test_only_an_address_of_the_web_becomes_a_link(address: str) -> None:
    assert "<a" not in link(address)
    assert (
        link("https://x/?a=1&b") == '<a href="https://x/?a=1&amp;b" rel="noreferrer noopener">https://x/?a=1&amp;b</a>'
    )


def test_backticks_mark_code() -> None:
    assert prose("use `a < b` here") == "use <code>a &lt; b</code> here"
    assert joined(["<", None, Markup("<br>")]) == "&lt;<br>"


def test_data_cannot_end_its_element() -> None:
    assert "<" not in json_data({"a": "</script><!--"})
