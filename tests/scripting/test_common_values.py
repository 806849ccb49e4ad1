"""Headers, query parameters and cookies of a whole script."""

from pathlib import Path

import pytest

from fastbg.scripting.model import Request
from fastbg.scripting.reader import read_script

COMMON = """
app = "a:b"
headers = { Authorization = "Bearer ${token}", X-Run = "${run}" }
query = { v = 1, many = ["a", "b"], off = false }
cookies = { s = "${mark}" }
"""
ALL_HEADERS = {"Authorization": "Bearer ${token}", "X-Run": "${run}"}
ALL_QUERY = {"v": 1, "many": ["a", "b"], "off": False}


def requests(text: str) -> list[Request]:
    script = read_script(COMMON + text, "my.toml", Path(), {}).script
    return [request for part in script.all_parts for request in part.requests]


def last(text: str) -> Request:
    return requests(f'[[request]]\npath = "/"\nsave.token = "body"\n[[request]]\npath = "/last"\n{text}\n')[-1]


def test_each_request_has_the_common_values() -> None:
    request = last("")
    assert (request.headers, request.query, request.cookies) == (ALL_HEADERS, ALL_QUERY, {"s": "${mark}"})


@pytest.mark.parametrize(
    ("own", "headers"),
    [
        ("{ x-run = 'mine' }", {"Authorization": "Bearer ${token}", "x-run": "mine"}),
        ("{ authorization = [] }", {"X-Run": "${run}"}),
        ("{ X-More = 'm', X-Not = [] }", {**ALL_HEADERS, "X-More": "m"}),
    ],
)
def test_header_of_the_request_wins_in_any_case(own: str, headers: dict[str, str]) -> None:
    assert last(f"headers = {own}").headers == headers


def test_parameter_of_the_request_wins_also_in_its_path() -> None:
    assert last("query = { v = 2, many = [], off = true }").query == {"v": 2, "off": True}
    path = '[[request]]\npath = "/?many=c&v"\nsave.token = "status"'
    assert requests(path)[0].query == {"off": False}


def test_own_cookie_header_replaces_the_common_cookies() -> None:
    assert last("headers = { cookie = 'a=b' }").cookies == {}
    assert last("cookies = { S = 'x' }").cookies == {"s": "${mark}", "S": "x"}
    assert last("cookies = { s = [] }").cookies == {}


def test_saved_value_is_common_from_the_next_request_on() -> None:
    first, second = '[[part.request]]\npath = "/"\n', '[[part.request]]\npath = "/"\nsave.token = "body"\n'
    found = requests(f'[[part]]\nname = "a"\n{first}{second}[[part]]\nname = "b"\n{first}{second}')
    assert ["Authorization" in request.headers for request in found] == [False, False, True, True]
    assert [request.needs for request in found[1:3]] == [{"run", "mark"}, {"run", "mark", "token"}]


def test_script_without_common_values_stays_as_it_is() -> None:
    text = '[[request]]\npath = "/"\nheaders = { a = "b" }\n'
    (request,) = read_script('app = "a:b"\n' + text, "my.toml", Path(), {}).script.requests
    assert (request.headers, request.query, request.cookies) == ({"a": "b"}, {}, {})
