"""Scripts: what is read, and what is refused."""

import pytest

from fastbg.errors import ScriptError
from fastbg.script import default_script, read_script

SMALL = """
app = "shop:app"

[[request]]
name = "order"
path = "/orders/${mark}"
query = { note = "x ${mark}" }
expect.body = { id = "${mark}" }
expect.writes = [{ file = "log.txt", text = "order ${mark}\\n" }]
"""


def test_default_script_asks_every_endpoint_of_the_seed_and_the_control() -> None:
    paths = {request.path.split("/")[1] for request in default_script().requests}
    assert paths == {"background_tasks", "dependency", "send-notification", "sub-dependency", "foreground_tasks"}
    assert [request.expect.verdict for request in default_script().requests if not request.query] == [
        "no-work",
        "response-first",
    ]


def test_every_sentence_for_the_class_room_is_there() -> None:
    assert all(request.about.endswith(".") for request in default_script().requests)


def test_mark_is_filled_in_everywhere() -> None:
    request = read_script(SMALL, "small.toml").requests[0].marked("m-1")
    assert request.path == "/orders/m-1"
    assert request.query == {"note": "x m-1"}
    assert request.expect.body == {"id": "m-1"}
    assert request.expect.writes[0].text == "order m-1\n"
    assert (request.method, request.expect.verdict, request.expect.tasks) == ("GET", "response-first", None)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("app = ", "no TOML"),
        ('app = "a:b"', "request"),
        (SMALL.replace("name", "nmae"), "request.0.nmae"),
        (SMALL.replace("/orders", "orders"), "request.0.path"),
        (SMALL + 'expect.verdict = "first"', "request.0.expect.verdict"),
    ],
)
def test_wrong_script_is_refused_with_the_key(text: str, named: str) -> None:
    with pytest.raises(ScriptError) as refused:
        read_script(text, "wrong.toml")
    assert named in refused.value.what
    assert refused.value.where == "wrong.toml"
