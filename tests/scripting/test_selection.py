"""The requests of a script that are selected, what they need, and their lines."""

from pathlib import Path

import pytest

from fastbg.errors import FastbgError, ScriptError
from fastbg.scripting.reader import Source, read_script
from fastbg.scripting.selection import narrow, only_part, only_requests

SHOP = """
app = "shop:app"

[[part]]
name = "trap"
[[part.request]]
name = "log in"
path = "/login"
save = { token = "body.token" }
[[part.request]]
name = "log in again"
path = "/login?${token}"
save = { token = "body.token" }
[[part.request]]
name = "order"
method = "POST"
path = "/orders/${mark}"
save.id = "body.id"
[part.request.expect]
status = 201
[[part.request]]
name = "ping"
path = "/ping"
after = "meanwhile"

[[part]]
name = "remedy"
[[part.request]]
name = "ping"
path = "/ping"
[[part.request]]
name = "pay"
path = "/pay/${id}"
headers = { token = "${token}" }
expect.status = 202
"""


def shop(text: str = SHOP) -> Source:
    return read_script(text, "shop.toml", Path(), {})


def names(source: Source) -> list[str]:
    return [f"{part.name}: {request.name}" for part in source.script.all_parts for request in part.requests]


def only(*wanted: str, text: str = SHOP) -> Source:
    (selected,) = only_requests([shop(text)], wanted)
    return selected


def test_name_selects_the_request_of_each_part_with_it() -> None:
    assert names(only("ping")) == ["trap: order", "trap: ping", "remedy: ping"]


def test_name_with_its_part_selects_one_request() -> None:
    assert names(only("remedy: ping")) == ["remedy: ping"]


def test_request_brings_those_whose_saved_values_it_needs() -> None:
    selected = only("pay")
    assert names(selected) == ["trap: log in", "trap: log in again", "trap: order", "remedy: pay"]
    assert selected.remarks == (
        "selected 1 of 6 requests",
        'sent as well, because a selected request needs it: "log in", "log in again", "order"',
    )


def test_request_sent_meanwhile_brings_the_one_before_it() -> None:
    assert names(only("trap: ping")) == ["trap: order", "trap: ping"]


def test_part_brings_what_it_needs_and_is_in_the_label() -> None:
    selected = only_part(shop(), "remedy")
    assert names(selected) == ["trap: log in", "trap: log in again", "trap: order", "remedy: ping", "remedy: pay"]
    assert selected.label == "shop:remedy"


def test_part_that_needs_no_other_has_no_remark() -> None:
    selected = only_part(shop(), "trap")
    assert names(selected) == ["trap: log in", "trap: log in again", "trap: order", "trap: ping"]
    assert selected.remarks == ()


def test_lines_of_selected_requests_stay_right() -> None:
    selected = only("pay")
    lines = SHOP.splitlines()
    assert lines[selected.lines["part", 1, "request", 0, "expect", "status"] - 1] == "expect.status = 202"
    assert lines[selected.lines["part", 0, "request", 2, "expect", "status"] - 1] == "status = 201"
    assert lines[selected.lines["part", 1, "name"] - 1] == 'name = "remedy"'
    assert ("part", 1, "request", 1) not in selected.lines


def test_lines_of_a_script_without_parts_stay_right() -> None:
    text = 'app = "a:b"\n' + "".join(f'[[request]]\nname = "{name}"\npath = "/"\n' for name in "abc")
    selected = only("c", text=text)
    assert (names(selected), selected.lines["request", 0, "name"]) == ([": c"], 9)


def test_all_selected_changes_nothing() -> None:
    source = shop()
    kept = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert narrow(source, kept).lines == source.lines
    assert names(narrow(source, kept)) == names(source)


def test_scripts_without_a_selected_request_are_left_out() -> None:
    other = read_script('app = "a:b"\n[[request]]\nname = "ping"\npath = "/"\n', "other.toml", Path(), {})
    assert [source.name for source in only_requests([shop(), other], ["pay"])] == ["shop.toml"]
    assert [source.name for source in only_requests([shop(), other], ["ping"])] == ["shop.toml", "other.toml"]


def test_unknown_request_is_refused_with_all_names() -> None:
    with pytest.raises(FastbgError) as caught:
        only("pay", "remedy: pong")
    assert caught.value.what == "no request has the name 'remedy: pong'; did you mean remedy: ping?"
    assert caught.value.details == tuple(names(shop()))


def test_unknown_part_is_refused_with_all_parts() -> None:
    with pytest.raises(ScriptError) as caught:
        only_part(shop(), "tarp")
    assert caught.value.what == "unknown part 'tarp'; did you mean trap?"
    assert (caught.value.where, caught.value.remedy) == ("shop:tarp", 'choose one of "trap", "remedy"')


def test_part_of_a_script_without_parts_is_refused() -> None:
    with pytest.raises(ScriptError, match="the script has no parts"):
        only_part(shop('app = "a:b"\n[[request]]\nname = "a"\npath = "/"\n'), "trap")
