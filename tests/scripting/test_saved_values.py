"""Values that are saved of what a request sends: found at run time, and checked before."""

from pathlib import Path

import pytest

from fastbg.errors import ScriptError
from fastbg.scripting.reader import read_script
from fastbg.scripting.saved_values import sent_value, sent_values

SENT = sent_values(
    path="/users?kind=new&tag=a&tag=b&empty=",
    query={"v": 2, "user.name": "x"},
    headers={"X-Key": "k"},
    url="http://h/users",
    cookies={"s": "1"},
    json={"email": "e", "items": [{"id": 5}], "none": None},
    form={},
    body=None,
)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("json", SENT["json"]),
        ("json.email", "e"),
        ("json.items.0.id", 5),
        ("json.none", None),
        ("query.v", 2),
        ("query.user.name", "x"),
        ("query.kind", "new"),
        ("query.tag", ["a", "b"]),
        ("query.tag.1", "b"),
        ("query.empty", ""),
        ("headers.x-KEY", "k"),
        ("cookies.s", "1"),
        ("path", "/users?kind=new&tag=a&tag=b&empty="),
        ("url", "http://h/users"),
    ],
)
def test_sent_value_is_found(place: str, value: object) -> None:
    assert sent_value(f"request.{place}", SENT) == value


@pytest.mark.parametrize("place", ["json.id", "json.items.1", "json.email.x", "form.a", "body", "cookies.S"])
def test_value_that_is_not_sent_is_not_found(place: str) -> None:
    with pytest.raises(LookupError):
        sent_value(f"request.{place}", SENT)


def read(save: str, request: str = "") -> None:
    text = f'app = "a:b"\nheaders = {{ X-Key = "k" }}\n[[request]]\npath = "/?q=1"\n{request}\nsave.a = "{save}"'
    read_script(text, "my.toml", Path(), {})


JSON = 'json = { email = "e", deep = "${run}" }'


@pytest.mark.parametrize(
    ("save", "request_", "fault"),
    [
        (
            "request.json.emial",
            JSON,
            "the request does not send json.emial; did you mean json.email? (it sends json.email, json.deep, query.q, "
            "headers.x-key, path, url)",
        ),
        (
            "request.form",
            "headers = { x-key = [] }",
            "the request does not send form (it sends query.q, path, url)",
        ),
        ("request.jsn.email", JSON, 'found "request.jsn.email", expected status, body.KEY, headers.NAME, '),
        ("request.path.x", JSON, 'found "request.path.x", expected status'),
    ],
)
def test_wrong_place_is_a_fault_with_what_is_sent(save: str, request_: str, fault: str) -> None:
    with pytest.raises(ScriptError) as caught:
        read(save, request_)
    (detail,) = caught.value.details
    assert detail.startswith(f"my.toml:6: request[1].save.a: {fault}")


@pytest.mark.parametrize("save", ["json.deep.x.y", "headers.x-key", "query.q", "json.email", "headers", "url"])
def test_right_place_and_an_open_placeholder_are_no_fault(save: str) -> None:
    read(f"request.{save}", JSON)
