"""Values that the requests of a run share: `${run}`, saved values, and the headers of the whole script."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.support.processes import fastbg
from tests.support.servers import ROOT

HEAD = """
app = "tests.apps.accounts:app"
folder = "${dir}"
follow = ["mails.txt"]
headers = { X-Key = "${env.KEY}", Authorization = "Bearer ${token}" }
query = { version = 2 }
"""
FLOW = """
[[request]]
name = "register"
method = "POST"
path = "/users"
json = { email = "${run}@example.com", password = "pw-${mark}" }
save = { email = "request.json.email", password = "request.json.password" }
expect.status = 201
expect.tasks = ["send"]
expect.writes = [{ file = "mails.txt", text = "welcome ${run}@example.com\\n" }]

[[request]]
name = "log in"
method = "POST"
path = "/token"
form = { email = "${email}", password = "${password}" }
save = { token = "body.token" }
expect.verdict = "no-work"

[[request]]
name = "order"
method = "POST"
path = "/orders"
query = { note = " ${mark}" }
expect.writes = [{ file = "mails.txt", text = "order of ${email} ${mark}\\n" }]

[[request]]
name = "me"
path = "/me"
expect.body = { email = "${run}@example.com" }
expect.verdict = "no-work"
"""
NO_KEY = """
[[request]]
path = "/me"
headers = { x-key = [] }
expect = { status = 422, verdict = "no-work" }

[[request]]
path = "/me?version=3"
expect = { status = 403, verdict = "no-work" }

[[request]]
path = "/me"
headers = { AUTHORIZATION = "Bearer token-of-me" }
expect.body = { email = "me" }
expect.verdict = "no-work"
"""
SECRET = "secret-key"


def run(folder: Path, text: str, *arguments: str | Path) -> tuple[int, bytes, bytes]:
    script = folder / "accounts.toml"
    script.write_text(text, encoding="utf-8")
    result = fastbg("demo", script, *arguments, cwd=folder, PYTHONPATH=str(ROOT), KEY=SECRET)
    return result.returncode, result.stdout, result.stderr


def document(folder: Path, text: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended, output, errors = run(folder, text, "--json", *arguments)
    assert (ended, errors) == (code, b""), output
    found: dict[str, Any] = json.loads(output)
    return found


def emails(folder: Path) -> set[str]:
    with sqlite3.connect(folder / ".fastbg" / "users.db") as connection:
        return {email for (email,) in connection.execute("SELECT email FROM users")}


def test_register_log_in_and_use_works_again_and_again(tmp_path: Path) -> None:
    for _ in range(2):  # with the same database
        document(tmp_path, HEAD + FLOW)
    found = document(tmp_path, HEAD + FLOW, "--repeat", "6", "--concurrency", "3")
    assert (found["ok"], found["summary"]["requests"]) == (True, 24)
    assert len(emails(tmp_path)) == 8


def test_repetition_keeps_its_text_in_later_parts(tmp_path: Path) -> None:
    register, rest = FLOW.replace("[[request]]", "[[part.request]]").split("[[part.request]]", 2)[1:]
    parts = f"[[part]]\nname = 'one'\n[[part.request]]{register}\n[[part]]\nname = 'two'\n[[part.request]]{rest}"
    document(tmp_path, HEAD + parts, "--repeat", "3")
    assert len(emails(tmp_path)) == 3


def test_selected_request_brings_those_that_the_header_needs(tmp_path: Path) -> None:
    found = document(tmp_path, HEAD + FLOW, "--only", "me")
    assert [request["name"] for request in found["requests"]] == ["register", "log in", "me"]


def test_request_sets_a_common_value_again_or_leaves_it_out(tmp_path: Path) -> None:
    document(tmp_path, HEAD.replace(', Authorization = "Bearer ${token}"', "") + NO_KEY)
    document(tmp_path, HEAD + FLOW + NO_KEY)


def test_cookies_are_common_too(tmp_path: Path) -> None:
    text = """
app = "tests.apps.scripted:app"
cookies = { a = "1", b = "2" }
[[request]]
path = "/echo"
cookies = { b = [], c = "${run}" }
expect.body.cookies = { a = "1", c = "${run}" }
expect.verdict = "no-work"
[[request]]
path = "/echo"
headers = { cookie = "d=4" }
expect.body.headers.cookie = "d=4"
expect.verdict = "no-work"
"""
    found = document(tmp_path, text)
    assert set(found["requests"][0]["body"]["cookies"]) == {"a", "c"}


def test_common_secrets_are_in_no_report(tmp_path: Path) -> None:
    failing = HEAD + FLOW.replace("status = 201", "status = 202")
    for more in (["--quiet"], ["--json"], ["--save", "x.svg", "--save", "x.html"]):
        code, output, errors = run(tmp_path, failing, "--junit", "x.xml", *more)
        assert code == 1
        files = [path.read_bytes() for path in (*tmp_path.glob("x.*"), *(tmp_path / ".fastbg").glob("*.*l*"))]
        assert SECRET.encode() not in b"".join([output, errors, *files])


def test_value_that_was_not_sent_is_unmet(tmp_path: Path) -> None:
    text = """
app = "tests.apps.scripted:app"
[[request]]
path = "/echo"
save = { whole = "body" }
expect.verdict = "no-work"
[[request]]
method = "POST"
path = "/echo"
json = "${whole}"
save = { tag = "request.json.item.tags.1", none = "request.json.item.nothing", method = "request.json.method" }
expect.verdict = "no-work"
[[request]]
path = "/echo?tag=${tag}&method=${method}"
save = { url = "request.url", again = "request.query.tag" }
expect.body.query = [["tag", "b"], ["method", "GET"]]
expect.verdict = "no-work"
[[request]]
path = "/echo"
headers = { X-Url = "${url}", X-Tag = "${again}" }
expect.verdict = "no-work"
"""
    found = document(tmp_path, text, code=1)
    unmet = [each for request in found["requests"] for each in request["unmet"]]
    assert unmet == ["save.none: expected request.json.item.nothing, was not in the request"]
    headers = found["requests"][3]["body"]["headers"]
    assert (headers["x-tag"], headers["x-url"]) == ("b", found["requests"][2]["url"])


def test_secret_with_a_line_end_is_not_shown(tmp_path: Path) -> None:
    script = tmp_path / "accounts.toml"
    script.write_text(HEAD + FLOW)
    result = fastbg("demo", script, "--json", cwd=tmp_path, PYTHONPATH=str(ROOT), KEY=f"{SECRET}\n")
    assert b"the header X-Key has a control character, or a space at an end" in result.stdout
    assert SECRET.encode() not in result.stdout


def test_query_is_added_to_the_one_of_the_path(tmp_path: Path) -> None:
    text = """
app = "tests.apps.scripted:app"
query = { a = 9, d = 4 }
[[request]]
path = "/echo?a=1&b=x%2Fy"
query = { c = ["3", 3] }
expect.body.query = [["a", "1"], ["b", "x/y"], ["d", "4"], ["c", "3"], ["c", "3"]]
expect.verdict = "no-work"
"""
    (request,) = document(tmp_path, text)["requests"]
    assert request["url"].endswith("/echo?a=1&b=x%2Fy&d=4&c=3&c=3")
