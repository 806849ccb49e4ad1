"""Reading of scripts, and the messages of their faults."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastbg
from fastbg.errors import ScriptError
from fastbg.scripting.model import ANY_STATUS
from fastbg.scripting.reader import MAX_BYTES, Source, read_script, read_script_file

BUILT_IN = Path(fastbg.__file__).parent / "scripts"
HEAD = 'app = "shop:app"\nfollow = ["log.txt"]\nmail = "mail.txt"\n[[request]]\nname = "order"\npath = "/orders"\n'
LAST = HEAD.count("\n") + 1  # the line after it
NOWHERE = Path(__file__).parent

WHOLE = r"""
title = "a shop"
about = "Why."
links = ["https://example.com/why"]
app = "shop.main:make.app"
env = { LEVEL = "debug", SECRET = "${env.SECRET}", FILE = "${dir}/x", MAIL = "${mail.host}:${mail.port}" }
follow = ["log.txt"]
mail = "mail.txt"
timeout = 5
server = { timeout_graceful_shutdown = 1, http = "h11" }

[[part]]
name = "first"

[[part.request]]
name = "order"
about = "Queues two tasks."
method = "POST"
path = "/orders/${mark}"
query = { q = "${mark}", n = 1, x = 1.5, on = true, many = ["a", 2] }
headers = { X-Key = "${env.SECRET}", "X-${mark}" = "y" }
cookies = { session = "s" }
json = { id = "${mark}", list = [1, { deep = 1.5 }], cost = "$${5}" }
repeat = 10
concurrency = 5
timeout = 0.5
after = "tasks"
save = { token = "body.items.0.token", where = "headers.location", code = "status", all = "body" }
signal = { name = "SIGTERM", after = 0.5 }
[part.request.expect]
status = [200, 201]
body = { id = "${mark}" }
verdict = "response-first"
tasks = ["send", { task = "shop.tasks.log", state = "finished", where = "thread", within = 2 }]
writes = [
    { file = "log.txt", text = "order ${mark}\n" },
    { file = "mail.txt", pattern = '^To: .*${mark}', count = 2, within = 1.5 },
]
response_within = 0.1
response_at_least = 0.01
lead_at_least = 0.3

[[part]]
name = "second"
app = "other:app"
env = { A = "1" }

[[part.request]]
name = "order"
path = "/files?token=${token}"
form = { a = 1 }
files = [{ field = "f", text = "x" }, { field = "g", path = "test_model.py", name = "g.py", type = "text/x-python" }]
connection = "one"
hang_up_after = 0.1
expect = { status = 422, verdict = "no-work", tasks = [] }
"""


def read(text: str, folder: Path = NOWHERE) -> Source:
    return read_script(text, "my.toml", folder, {"SECRET": "s"})


def refused(text: str, folder: Path = NOWHERE) -> list[str]:
    """Return the messages of the faults in ``text``."""
    with pytest.raises(ScriptError) as caught:
        read(text, folder)
    error = caught.value
    assert error.where == "my.toml"
    count = len(error.details)
    assert error.what == f"the script has {count} fault{'' if count == 1 else 's'}"
    return list(error.details)


# Valid scripts


def test_whole_script_is_read() -> None:
    script = read(WHOLE).script
    first, second = script.all_parts
    order = first.requests[0]
    assert (script.app, script.timeout, script.server.timeout_graceful_shutdown) == ("shop.main:make.app", 5, 1)
    assert (order.method, order.path, order.repeat, order.concurrency) == ("POST", "/orders/${mark}", 10, 5)
    assert order.json_body == {"id": "${mark}", "list": [1, {"deep": 1.5}], "cost": "$${5}"}
    assert order.expect.status == [200, 201]
    assert [task.task for task in order.expect.tasks or []] == ["send", "shop.tasks.log"]
    assert [write.count for write in order.expect.writes] == [1, 2]
    assert (second.app, second.requests[0].expect.status) == ("other:app", [422])


def test_small_script_says_little() -> None:
    source = read('app = "a:b"\n[[request]]\nname = "x"\npath = "/"\n')
    (part,) = source.script.all_parts
    request = part.requests[0]
    assert (part.name, part.app, part.server) == ("", None, None)
    assert (request.method, request.repeat, request.concurrency, request.after) == ("GET", 1, 1, "responses")
    assert (request.expect.status, request.expect.verdict, request.expect.tasks) == ([200], "response-first", None)


def test_code_has_no_placeholders() -> None:
    text = 'code = ["${x}"]\napp = "a:b"\nrequest = [{ name = "x", path = "/" }]'
    assert read(text).script.all_parts[0].code == ["${x}"]
    in_part = 'app = "a:b"\n[[part]]\nname = "p"\ncode = ["$${"]\nrequest = [{ name = "x", path = "/" }]'
    assert read(in_part).script.all_parts[0].code == ["$${"]


def test_source_knows_the_line_of_each_key() -> None:
    source = read(WHOLE)
    assert source.place("part", 0, "request", 0, "expect", "writes", 1, "pattern") == "my.toml:37"
    assert source.place("part", 1, "request", 0, "method") == "my.toml:48"  # not set, so the line of its request


def test_default_script_requests_every_endpoint() -> None:
    script = read_script_file(BUILT_IN / "default.toml", {}).script
    paths = {request.path.split("/")[1] for request in script.requests}
    assert paths == {"background_tasks", "dependency", "send-notification", "sub-dependency", "foreground_tasks"}
    assert all(request.about.endswith(".") for request in script.requests)


def test_name_is_the_method_and_the_path_by_default() -> None:
    named = '[[{0}]]\nname = "GET /b"\npath = "/x"\n'
    text = '[[{0}]]\npath = "/a"\n[[{0}]]\npath = "/a"\nmethod = "POST"\n[[{0}]]\npath = "/a"\n[[{0}]]\npath = "/b"\n'
    names = ["GET /a", "POST /a", "GET /a (2)", "GET /b (2)", "GET /b"]
    requests = read('app = "a:b"\n' + (text + named).format("request")).script.requests
    assert [request.name for request in requests] == names
    parts = read('app = "a:b"\n[[part]]\nname = "p"\n' + (text + named).format("part.request")).script.parts
    assert [request.name for request in parts[0].requests] == names


def test_any_status_and_any_verdict_can_be_accepted() -> None:
    expect = read(HEAD + 'expect = { status = "any", verdict = "any" }').script.requests[0].expect
    assert (expect.status, expect.verdict) == (list(ANY_STATUS), "any")


# Faults and their messages


def test_all_faults_are_reported_in_the_order_of_their_lines() -> None:
    text = """\
titel = "a shop"
app = "shop"
[[request]]
name = "order"
path = "orders"
method = "get"
[request.expect]
status = 20
writes = [
    { file = "log.txt", text = "x" },
]
"""
    assert refused(text) == [
        "my.toml:1: titel: unknown key; did you mean title? (allowed: about, app, code, command, cookies, env, folder, "
        "follow, group, headers, links, mail, moral, part, query, request, server, timeout, title, url)",
        'my.toml:2: app: found "shop", expected module:attribute, such as main:app for the `app` in main.py',
        'my.toml:5: request[1].path: found "orders", expected a path that starts with a single /',
        'my.toml:6: request[1].method: found "get", expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, '
        "TRACE; did you mean GET?",
        "my.toml:8: request[1].expect.status: found 20, expected 100 or more",
        'my.toml:10: request[1].expect.writes[1].file: "log.txt" is not followed (no file is followed)',
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("repeat = '2'", 'repeat: found "2", expected an integer'),
        ("repeat = 0", "repeat: found 0, expected 1 or more"),
        ("repeat = 1_000_001", "repeat: found 1000001, expected 1000000 or less"),
        ("timeout = nan", "timeout: found nan, expected 86400 or less"),
        ("timeout = true", "timeout: found true, expected a number"),
        ("hang_up_after = 0", 'hang_up_after: found 0, expected more than 0 or "queued"'),
        (
            "hang_up_after = 'queue'",
            'hang_up_after: found "queue", expected a number or "queued"; did you mean queued?',
        ),
        ("signal = { name = 'SIGINT', after = -1 }", 'signal.after: found -1, expected 0 or more or "started"'),
        ("about = 3", "about: found 3, expected a string"),
        ("connection = ''", 'connection: found "", expected a non-empty string'),
        ("headers = []", "headers: found an empty array, expected a table"),
        ("headers.A = 1", "headers.A: found 1, expected a string"),
        ("headers.'A B' = 'x'", 'headers."A B": is not a valid name: use letters, digits and !#$%&\'*+-.^_`|~'),
        ('headers.A = "x\\n"', 'headers.A: found "x\\n", but only printable characters are allowed'),
        ("cookies.A = 'x; b=y'", 'cookies.A: found "x; b=y", but the value of a cookie cannot contain ;'),
        ("query.a = { b = 1 }", "query.a: found a table, expected a string, a number, an array, true or false"),
        ("query.a = [[1]]", "query.a[1]: found an array, expected a string, a number, true or false"),
        ("json = 1979-05-27", "json: found 1979-05-27, but JSON has no dates: put it in quotes"),
        ("json.a = [1, inf]", "json.a[2]: found inf, but JSON has only finite numbers"),
        ("json.a = 9_223_372_036_854_775_808", "json.a: found 9223372036854775808, but TOML integers have 64 bits"),
        ("files = { field = 'f' }", "files: found a table, expected an array: write [[request.files]]"),
        ("files = [{ field = 'f' }]", "files[1]: needs text or path"),
        ("files = [{ text = 'f' }]", "files[1].field: is missing"),
        (
            "files = [{ field = 'f', text = 'x', path = 'test_model.py' }]",
            "files[1]: has both text and path: remove one of them",
        ),
        (
            "files = [{ field = 'f', path = 'none.txt' }]",
            f"files[1].path: the file {NOWHERE / 'none.txt'} does not exist",
        ),
        ("body = ''\njson = 1", "json: a request can have only one body, found body and json"),
        ("concurrency = 2", "concurrency: found 2, expected at most repeat (1)"),
        (
            "connection = 'x'\nrepeat = 2\nconcurrency = 2",
            "connection: a connection carries one request at a time: remove connection or concurrency",
        ),
        ("signal = 'SIGTERM'", 'signal: found "SIGTERM", expected a table'),
        ("signal.name = 'TERM'", 'signal.name: found "TERM", expected one of SIGTERM, SIGINT, SIGKILL; did you mean'),
        ("save.a = 'id'", 'save.a: found "id", expected status, body.KEY, headers.NAME, cookies.NAME, or of what was'),
        ("headers.a = false", "headers.a: found false, expected a string or an empty array, which does not send it"),
        ("cookies.a = ['x']", "cookies.a: found an array, expected a string or an empty array, which does not send it"),
        ("save.mark = 'status'", "save.mark: is not a valid name for a saved value: choose another name"),
        ("save.'a.b' = 'status'", 'save."a.b": is not a valid name for a saved value: choose another name'),
        ("expect.status = []", "expect.status: found an empty array, expected at least one item"),
        ("expect.status = 'ok'", 'expect.status: found "ok", expected a status such as 200, an array of statuses'),
        ("expect.status = [200, 600]", "expect.status[2]: found 600, expected 599 or less"),
        ("expect.body = { day = 1979-05-27 }", "expect.body.day: found 1979-05-27, but JSON has no dates"),
        ("expect.verdict = 'respond-first'", 'expect.verdict: found "respond-first", expected one of response-first'),
        ("expect.tasks = 'send'", 'expect.tasks: found "send", expected an array'),
        ("expect.tasks = [1]", "expect.tasks[1]: found 1, expected the name of a task, or a table with the key task"),
        ("expect.tasks = ['']", 'expect.tasks[1]: found "", expected a non-empty string'),
        ("expect.tasks = [{ where = 'loop' }]", "expect.tasks[1].task: is missing"),
        ("expect.writes = [{ file = 'log.txt' }]", "expect.writes[1]: needs text, pattern, created or deleted"),
        (
            "expect.writes = [{ file = 'log.txt', text = 'x', deleted = true }]",
            "expect.writes[1]: has both text and deleted: remove one of them",
        ),
        (
            "expect.writes = [{ file = 'log.txt', created = true, deleted = true }]",
            "expect.writes[1]: has both created and deleted: remove one of them",
        ),
        (
            "expect.writes = [{ file = 'log.txt', created = true, count = 2 }]",
            "expect.writes[1].count: a file is created once: remove count or created",
        ),
        (
            "expect.writes = [{ file = 'log.txt', deleted = false }]",
            "expect.writes[1].deleted: found false, expected true",
        ),
        (
            "expect.writes = [{ file = 'log.tx', text = 'x' }]",
            'expect.writes[1].file: "log.tx" is not followed; did you mean log.txt? (followed: log.txt, mail.txt)',
        ),
        (
            "expect.writes = [{ file = 'log.txt', pattern = '(${mark}' }]",
            'expect.writes[1].pattern: "(${mark}" is not a valid regular expression: '
            "missing ), unterminated subpattern at",
        ),
        (
            "expect.writes = [{ file = 'log.txt', pattern = 'a{99999999999}' }]",
            'expect.writes[1].pattern: "a{99999999999}" is not a valid regular expression: '
            "the repetition number is too large",
        ),
        (
            f"expect.writes = [{{ file = 'log.txt', pattern = '{'(' * 3000}' }}]",
            f'expect.writes[1].pattern: "{"(" * 78}… is not a valid regular expression: nested too deeply',
        ),
        (
            "expect.writes = [{ file = 'log.txt', text = 'x', count = 0, within = 1 }]",
            "expect.writes[1].within: a write with count = 0 has no time limit: remove within",
        ),
        (
            "expect.verdict = 'no-work'\nexpect.writes = [{ file = 'log.txt', text = 'x' }]",
            "expect.writes: a request with the verdict no-work has no writes: remove writes or verdict",
        ),
    ],
)
def test_request_fault_has_line_key_found_and_allowed(line: str, fault: str) -> None:
    (message,) = refused(HEAD + line)
    number = LAST + line.count("\n") if not fault.startswith("connection") else LAST
    assert message.startswith(f"my.toml:{number}: request[1].{fault}")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "",
            [
                '1: the script: has no app: add app = "module:attribute", command or url = "http://…" at the top',
                "1: the script: has no request: add a [[request]] with a path",
            ],
        ),
        ('app = "a:b"\npart = []', ["1: the script: has no request: add a [[request]] with a path"]),
        ('app = "a:b"\n[request]\nname = "x"', ["2: request: found a table, expected an array: write [[request]]"]),
        ('[part]\nname = "x"', ["1: part: found a table, expected an array: write [[part]]"]),
        (
            '[[part]]\nname = "x"\napp = "a:b"\n[part.request]\n',
            ["4: part[1].request: found an empty table, expected an array: write [[part.request]]"],
        ),
        (
            '[[part]]\nname = "x"\n[[part.request]]\nname = "r"\npath = "/"\n',
            ['1: part[1]: has no app: add app = "module:attribute", command or url = "http://…" at the top'],
        ),
        (
            HEAD + '[[part]]\nname = "x"\n[[part.request]]\nname = "r"\npath = "/"\n',
            ["4: request: a script with parts cannot have other requests: move this one into a [[part.request]]"],
        ),
        (
            HEAD.replace('app = "shop:app"', 'url = "http://localhost"\nenv = {}') + 'signal.name = "SIGTERM"',
            [
                "2: env: url is the address of a running server: remove url or env",
                "8: request[1].signal: fastbg cannot send signals to the server at url: remove signal",
            ],
        ),
        ('url = "ftp://x"\n' + HEAD[17:], ['1: url: found "ftp://x", expected a URL that starts with http:// or']),
        (
            'url = "http://x"\n[[part]]\nname = "p"\napp = "a:b"\nrequest = [{ name = "r", path = "/" }]',
            ["4: part[1].app: url is the address of a running server: remove url or app"],
        ),
        (
            'code = ["x"]\napp = "a:b"\n[[part]]\nname = "p"\n' + 'request = [{ name = "r", path = "/" }]',
            ["1: code: a script with parts marks the code of each part: move it into a [[part]]"],
        ),
        (
            'url = "http://x"\ncode = ["x"]\nrequest = [{ name = "r", path = "/" }]',
            ["2: code: url is the address of a running server: remove url or code"],
        ),
        (
            'code = ["x", "a\\nb", " ", 1]\n' + HEAD,
            [
                '1: code[2]: found "a\\nb", expected the name of a function or class, or a text of one line',
                '1: code[3]: found " ", expected the name of a function or class, or a text of one line',
                "1: code[4]: found 1, expected a string",
            ],
        ),
        ('folder = "nowhere"\n' + HEAD, [f"1: folder: the folder {NOWHERE / 'nowhere'} does not exist"]),
        (f'folder = "{"x" * 300}"\n' + HEAD, [f"1: folder: the folder {NOWHERE / ('x' * 300)} does not exist"]),
        ('folder = "\\u0000"\n' + HEAD, [f"1: folder: the folder {NOWHERE / chr(0)} does not exist"]),
        (
            HEAD + '[[request]]\nname = "order"\npath = "/"',
            ['8: request[2].name: another request already has the name "order"'],
        ),
        ("server.workers = 2\n" + HEAD, ["1: server.workers: fastbg decides this itself: it runs one process"]),
        ('env = { "A.B" = 1 }\n' + HEAD, ['1: env."A.B": found 1, expected a string']),
        ('"a.b\\n" = 1\n' + HEAD, ['1: "a.b\\n": unknown key (allowed: about']),
        ('links = ["example.com"]\n' + HEAD, ['1: links[1]: found "example.com", expected a URL that starts with']),
    ],
)
def test_fault_of_the_script_is_reported(text: str, faults: list[str]) -> None:
    messages = refused(text)
    assert len(messages) == len(faults), messages
    for line, fault in zip(messages, faults, strict=True):
        assert line.startswith(f"my.toml:{fault}")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('body = "${name}"', "body: ${name} is not known here (known: mark, run, dir, mail.host, mail.port, env.NAME)"),
        ('query.q = "${mrk}"', "query.q: ${mrk} is not known here; did you mean mark? (known: mark, run, dir"),
        ('json = ["${env.NOT_SET}"]', "json[1]: the environment variable NOT_SET is not set"),
        ('headers."X-${x}" = "y"', 'headers."X-${x}": ${x} is not known here (known:'),
        ('body = "${mark"', "body: has a ${ without a }: add the }, or write $${ for the text ${"),
        ('expect.body = "${own}"\nsave.own = "body.id"', "expect.body: ${own} is not known here (known:"),
    ],
)
def test_unknown_placeholder_is_reported(line: str, fault: str) -> None:
    (message,) = refused(HEAD + line)
    assert message.startswith(f"my.toml:{LAST}: request[1].{fault}")


def test_mail_and_mark_are_known_only_where_they_exist() -> None:
    text = HEAD.replace('mail = "mail.txt"', 'env.A = "${mark}"') + 'body = "${mail.port}"'
    assert refused(text) == [
        "my.toml:3: env.A: ${mark} is not known here (known: dir, env.NAME)",
        f"my.toml:{LAST}: request[1].body: ${{mail.port}} is not known here (known: mark, run, dir, env.NAME)",
    ]


def test_saved_value_is_known_to_later_requests_only() -> None:
    later = '[[request]]\nname = "later"\npath = "/${token}"\n'
    assert read(HEAD + 'save.token = "body.token"\n' + later).script.requests[1].path == "/${token}"
    text = HEAD.replace('path = "/orders"', 'path = "/${token}"') + later + 'save.token = "body.token"\n'
    assert [line.partition(": ")[2] for line in refused(text)] == [
        "request[1].path: ${token} is not known here (known: mark, run, dir, mail.host, mail.port, env.NAME)",
        "request[2].path: ${token} is not known here (known: mark, run, dir, mail.host, mail.port, env.NAME)",
    ]


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("app = \n", "the script is not valid TOML: Invalid value", "my.toml:1"),
        ("a = 1\na = 2\n", "the script is not valid TOML: Cannot overwrite a value", "my.toml:2"),
        ("a = '''\n\n", "the script is not valid TOML: Expected \"'''\"", "my.toml:1"),
        ("a = " + "9" * 5000, "the script is not valid TOML: a number has too many digits", "my.toml"),
        ("a = " + "[" * 5000, "the script is nested too deeply", "my.toml"),
        ("a = " + "[" * 60 + "]" * 60, "the script is nested too deeply", "my.toml"),
        ("a." * 60 + "b = 1", "the script is nested too deeply", "my.toml"),
    ],
    ids=lambda value: value[:20],
)
def test_invalid_toml_is_refused_with_its_line(text: str, what: str, where: str) -> None:
    with pytest.raises(ScriptError) as caught:
        read(text)
    assert (caught.value.what, caught.value.where) == (what, where)
    assert caught.value.remedy


# Files


def test_file_is_read_with_its_own_folder(tmp_path: Path) -> None:
    tmp_path.joinpath("my.toml").write_text("\ufeff" + HEAD + 'files = [{ field = "f", path = "x.txt" }]', "utf-8")
    tmp_path.joinpath("x.txt").touch()
    source = read_script_file(tmp_path / "my.toml", {})
    assert (source.name, source.folder) == (str(tmp_path / "my.toml"), tmp_path)


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        (b"a = 1\nb = '\xff'\n", "the script cannot be read: it is not UTF-8", ":2"),
        (b"#" * (MAX_BYTES + 1), f"the script cannot be read: it is larger than {MAX_BYTES:,} bytes", ""),
    ],
    ids=["not UTF-8", "large"],
)
def test_file_that_is_not_text_is_refused(content: bytes, what: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(content)
    with pytest.raises(ScriptError) as caught:
        read_script_file(path, {})
    assert (caught.value.what, caught.value.where) == (what, f"{path}{line}")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    for path, what in [(tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(ScriptError, match=f"the script cannot be read: {what}"):
            read_script_file(path, {})


# Any input: a script, or a ScriptError


def outcome(read: Callable[[], Source]) -> Source | ScriptError:
    try:
        return read()
    except ScriptError as error:
        return error


def read_or_refused(text: str) -> None:
    script = outcome(lambda: read(text))
    if isinstance(script, Source):
        assert all(part.requests for part in script.script.all_parts)
        return
    for words in (script.what, script.where, script.remedy, *script.details):
        assert words
        assert "\n" not in words
    if " fault" in script.what:
        assert all(re.match(r"my\.toml:\d+: .+: .+", line) for line in script.details)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text)


@given(st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(data)
    assert isinstance(outcome(lambda: read_script_file(path, {})), Source | ScriptError)


PIECES = ["=", "[", "]", "[[", "]]", "{", "}", '"', "'", '"""', "${", "${mark}", ".", ",", "\n", "#", "-1", "nan"]
WORDS = ["1979-05-27", "[[part]]\n", "[[request]]\n", "request", "url = 'http://x'\n", "\\", "[1, 2]", "{ a = 1 }"]


@given(st.data())
@settings(deadline=None)
def test_script_with_random_changes_is_read_or_refused(data: st.DataObject) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 20)))
        text = text[:start] + data.draw(st.sampled_from(["", *PIECES, *WORDS])) + text[end:]
    read_or_refused(text)


@given(st.data())
@settings(deadline=None)
def test_script_with_any_value_at_any_key_is_read_or_refused(data: st.DataObject) -> None:
    """Most of these are valid TOML, so that the later checks run too."""
    lines = WHOLE.split("\n")
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if re.match(r"[a-z_]+ = .+[^\[]$", line)]))
    name = data.draw(st.sampled_from([lines[number].split(" = ")[0], "x", '"a b"', "name", "expect", "json", "path"]))
    leaf = st.one_of(
        st.integers(-(2**70), 2**70).map(str),
        st.floats().map(lambda value: str(value)),
        st.text(max_size=10).map(lambda text: json.dumps(text).replace("\\u007f", "")),
        st.sampled_from(["true", "1979-05-27", "07:32:00", '"${mark}"', '"${x}"', '"log.txt"', '"GET"', '"("', "''"]),
    )
    value = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
            st.dictionaries(st.sampled_from(["a", "name", "task", "text", "file", '"x.y"']), inner, max_size=3).map(
                lambda items: f"{{ {', '.join(f'{name} = {item}' for name, item in items.items())} }}"
            ),
        ),
        max_leaves=5,
    )
    lines[number] = f"{name} = {data.draw(value)}"
    read_or_refused("\n".join(lines))
