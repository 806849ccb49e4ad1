"""`fastbg demo SCRIPT`: requests and expectations of a script, and its error messages."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import fastbg
from tests.support.servers import ROOT, fastbg_serve

HEAD = 'app = "tests.apps.scripted:app"\nfolder = "${dir}"\nfollow = ["log.txt"]\n'
WRITE = 'method = "POST"\npath = "/write"\nquery = { text = "hello ${mark}\\n" }\n'
CAME = 'writes = [{ file = "log.txt", text = "hello ${mark}\\n" }]\n'


def request(name: str, *lines: str, part: str = "") -> str:
    return "\n".join((f'[[{part}request]]\nname = "{name}"', *lines, ""))


def demo(folder: Path, *parts: str, arguments: tuple[str, ...] = (), code: int = 0, **more: Any) -> dict[str, Any]:
    """Run a script of these parts. Return its JSON document."""
    script = folder / "my.toml"
    script.write_text("\n".join(parts), encoding="utf-8")
    result = fastbg("demo", script, "--json", *arguments, cwd=folder, PYTHONPATH=str(ROOT), **more)
    assert (result.returncode, result.stderr) == (code, b""), result
    written: dict[str, Any] = json.loads(result.stdout)
    return written


def only(written: dict[str, Any]) -> dict[str, Any]:
    (found,) = written["requests"]
    return dict(found)


# requests


def test_requests_are_sent_as_they_are_written(tmp_path: Path) -> None:
    ways: list[tuple[str, dict[str, Any]]] = [
        (
            "query = { n = 1, yes = true, many = ['a', 'b'] }",
            {"query": [["n", "1"], ["yes", "true"], ["many", "a"], ["many", "b"]]},
        ),
        ("headers = { X-Name = 'x y' }\ncookies = { a = '1', b = '2' }", {"cookies": {"a": "1", "b": "2"}}),
        ("method = 'POST'\njson = { n = [1, { deep = true }] }", {"body": '{"n":[1,{"deep":true}]}'}),
        ("method = 'PUT'\nform = { a = 'x y', n = 2 }", {"method": "PUT", "body": "a=x+y&n=2"}),
        ("method = 'POST'\nbody = '<xml/>'\nheaders = { Content-Type = 'text/xml' }", {"body": "<xml/>"}),
    ]
    lines = 'path = "/echo"', 'expect.verdict = "no-work"'
    requests = [request(f"way {number}", *lines, way) for number, (way, _) in enumerate(ways)]
    written = demo(tmp_path, HEAD, *requests)
    for sent, (_, found) in zip(written["requests"], ways, strict=True):
        assert {key: sent["body"][key] for key in found} == found
    assert written["requests"][1]["body"]["headers"]["x-name"] == "x y"


def test_files_are_uploaded(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\x00")
    upload = 'files = [{ field = "a", path = "photo.png", type = "image/png" }, { field = "b", text = "${mark}" }]'
    lines = ('path = "/echo"\nmethod = "POST"', upload, 'form = { title = "t" }', 'expect.verdict = "no-work"')
    head = HEAD.replace('folder = "${dir}"', 'folder = "."')
    written = only(demo(tmp_path, head, request("upload", *lines)))
    body = written["body"]["body"]
    assert 'name="a"; filename="file"' in body
    assert "Content-Type: image/png\r\n\r\n\x89PNG\x00\r\n" in body
    assert f"\r\n\r\n{written['request_id']}\r\n" in body
    assert 'name="title"\r\n\r\nt\r\n' in body


def test_values_from_environment_and_earlier_responses(tmp_path: Path) -> None:
    first = request(
        "first",
        'path = "/echo"\nexpect.verdict = "no-work"',
        'save.id = "body.item.id"\nsave.tag = "body.item.tags.1"',
        'save.token = "headers.x-token"\nsave.cookie = "cookies.session"',
    )
    second = request(
        "second",
        'path = "/echo"\nmethod = "POST"\nexpect.verdict = "no-work"',
        'json = { id = "${id}", told = "${id}/${tag}/${token}/${cookie}/${env.WHO}/$${id}" }',
    )
    written = demo(tmp_path, HEAD, 'env = { GREETING = "hello ${env.WHO}" }', first, second, WHO="world")
    body = written["requests"][1]["body"]
    assert json.loads(body["body"]) == {"id": 7, "told": "7/b/t-1/s-1/world/${id}"}
    assert body["greeting"] == "hello world"
    assert body["folder"] == ".fastbg"
    assert "cookie" not in body["headers"]  # cookies of a response are not sent automatically


def test_saved_value_is_there_in_later_parts_for_each_repetition(tmp_path: Path) -> None:
    ask = 'path = "/echo"\nexpect.verdict = "no-work"'
    parts = [
        '[[part]]\nname = "one"\n'
        + request("a", ask, 'query.mine = "${mark}"\nsave.mine = "body.query.0.1"', part="part."),
        '[[part]]\nname = "two"\n' + request("b", ask, 'query.mine = "${mine}"', part="part."),
    ]
    written = demo(tmp_path, HEAD, *parts, arguments=("--repeat", "3"))
    first, second = (
        sorted(found["body"]["query"][0][1] for found in written["requests"] if found["part"] == part)
        for part in ("one", "two")
    )
    assert len(set(first)) == 3
    assert first == second


def test_missing_saved_value_stops_the_requests_that_need_it(tmp_path: Path) -> None:
    first = request("first", 'path = "/echo"\nexpect.verdict = "no-work"', 'save = { id = "body.no.id" }')
    second = request("second", 'path = "/echo?${id}"')
    written = demo(tmp_path, HEAD, first, second, code=1)
    assert written["requests"][0]["unmet"] == ["save.id: expected body.no.id, was not in the response"]
    assert written["requests"][1]["verdict"] == "unproven"
    assert written["requests"][1]["reason"] == "not sent: no earlier response had a value for id"


def test_app_is_imported_from_the_scripts_folder_and_runs_there(tmp_path: Path) -> None:
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "shop.py").write_text(
        "from fastapi import BackgroundTasks, FastAPI\n"
        "app = FastAPI()\n"
        "@app.get('/')\n"
        "async def root(tasks: BackgroundTasks, text: str) -> None:\n"
        "    tasks.add_task(lambda: open('out.txt', 'a').write(text))\n",
        encoding="utf-8",
    )
    lines = 'path = "/"\nquery = { text = "${mark}" }\nexpect.writes = [{ file = "out.txt", text = "${mark}" }]'
    (folder / "my.toml").write_text('app = "shop:app"\nfollow = ["out.txt"]\n' + request("a", lines), encoding="utf-8")
    result = fastbg("demo", "checks/my.toml", "--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert only(json.loads(result.stdout))["writes"][0]["file"] == "out.txt"
    assert (folder / "out.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fastbg", "checks"]


def test_script_for_a_server_that_runs_already(tmp_path: Path) -> None:
    with fastbg_serve("tests.apps.scripted:app", "--dir", str(tmp_path), cwd=tmp_path, PYTHONPATH=str(ROOT)) as url:
        head = f'url = "{url}"\nfollow = ["log.txt"]\n'
        written = only(
            demo(tmp_path, head, request("write", WRITE, "[request.expect]", CAME), arguments=("--dir", "."))
        )
    assert written["verdict"] == "response-first"
    assert written["url"].startswith(url)


def test_parts_have_servers_of_their_own_where_they_differ(tmp_path: Path) -> None:
    lines = 'path = "/echo"\nexpect.verdict = "no-work"'
    parts = [
        '[[part]]\nname = "one"\n' + request("a", lines, part="part."),
        '[[part]]\nname = "two"\n' + request("a", lines, part="part."),
        '[[part]]\nname = "three"\nenv = { GREETING = "hi" }\n' + request("a", lines, part="part."),
    ]
    written = demo(tmp_path, HEAD, *parts)
    assert [found["part"] for found in written["requests"]] == ["one", "two", "three"]
    one, two, three = (found["body"] for found in written["requests"])
    assert one["pid"] == two["pid"] != three["pid"]
    assert (one["greeting"], three["greeting"]) == (None, "hi")


def test_requests_that_name_a_connection_share_it(tmp_path: Path) -> None:
    lines = 'method = "POST"\npath = "/sleep"\nquery = { seconds = 0.2, text = "${mark}\\n" }\nconnection = "one"'
    written = demo(tmp_path, HEAD, request("first", lines), request("second", lines))
    assert [found["verdict"] for found in written["requests"]] == ["response-first", "response-first"]


def test_timeout_of_a_request_does_not_limit_the_startup(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import time\ntime.sleep(1)\nfrom tests.apps.scripted import app\n")
    head = HEAD.replace("tests.apps.scripted", "late").replace("${dir}", ".")
    lines = 'path = "/slow"\nquery = { seconds = 1 }\ntimeout = 30\nexpect.verdict = "no-work"'
    assert only(demo(tmp_path, head, request("slow", lines), arguments=("--timeout", "0.5")))["status"] == 200


def test_no_request_uses_the_connection_of_another_one(tmp_path: Path) -> None:
    lines = 'after = "tasks"', 'expect.verdict = "no-work"'
    asking = [request(f"port {number}", 'path = "/port"', *lines) for number in range(3)]
    raising = request("raises", 'path = "/raise"', "expect.status = 500", *lines)
    found = demo(tmp_path, HEAD, *asking[:2], raising, asking[2])["requests"]
    assert len({each["body"] for each in found}) == 4


CORRELATED = HEAD.replace("scripted", "correlated")
TAKEN = 'expect.writes = [{ file = "log.txt", text = "${mark}: ${mark}\\n" }]'


def test_default_request_id_is_a_uuid_that_stands_for_the_mark(tmp_path: Path) -> None:
    lines = 'method = "POST"\npath = "/orders/${mark}"', 'expect.body = { request_id = "${mark}" }', TAKEN
    found = only(demo(tmp_path, CORRELATED, request("order", *lines)))
    assert (found["verdict"], found["unmet"]) == ("response-first", [])
    assert found["writes"][0]["text"] == f"{found['x_request_id']}: {found['request_id']}\n"


def test_request_id_of_the_script_is_sent_as_it_is(tmp_path: Path) -> None:
    own, sent = '{ x-request-id = "my ${mark}" }', 'path = "/echo"\nexpect.verdict = "no-work"'
    found = only(demo(tmp_path, HEAD, request("echo", f"headers = {own}", sent)))
    assert found["body"]["headers"]["x-request-id"] == found["x_request_id"] == f"my {found['request_id']}"


def test_app_does_not_see_the_header_of_fastbg(tmp_path: Path) -> None:
    found = only(demo(tmp_path, HEAD, request("echo", 'path = "/echo"\nexpect.verdict = "no-work"')))
    assert not [name for name in found["body"]["headers"] if "fastbg" in name]


def test_requests_with_one_request_id_are_told_apart(tmp_path: Path) -> None:
    lines = (
        WRITE,
        'headers = { X-Request-ID = "same" }',
        "repeat = 20",
        "concurrency = 4",
        f"[request.expect]\n{CAME}",
    )
    written = demo(tmp_path, HEAD, request("same", *lines))
    assert written["summary"]["response_first"] == 20
    report = json.loads(fastbg("report", "--json", cwd=tmp_path).stdout)
    assert report["summary"]["response_first"] == report["summary"]["requests"] == 20
    assert {each["x_request_id"] for each in report["requests"]} == {"same"}


# expectations


def test_everything_that_can_be_expected_is_met(tmp_path: Path) -> None:
    lines = (
        WRITE,
        "[request.expect]\nstatus = [200, 201]",
        'tasks = [{ task = "scripted.write", state = "finished", where = "thread", within = 9 }]',
        "response_within = 9",
        'writes = [{ file = "log.txt", pattern = "^hello ${mark}$", within = 9 },'
        ' { file = "log.txt", text = "other ${mark}", count = 0 }]',
    )
    written = only(demo(tmp_path, HEAD, request("write", *lines)))
    assert written["unmet"] == []
    assert [write["text"] for write in written["writes"]] == [f"hello {written['request_id']}"]


def test_text_that_comes_too_often_is_told(tmp_path: Path) -> None:
    lines = (WRITE.replace(" }\n", ", times = 3 }\n"), "[request.expect]", CAME)
    written = only(demo(tmp_path, HEAD, request("write", *lines), code=1))
    assert written["unmet"] == [
        f"writes[1].count: expected 'hello {written['request_id']}\\n' in log.txt, found 3 times"
    ]
    met = CAME.replace(" }]", ", count = 3 }]")
    assert only(demo(tmp_path, HEAD, request("write", lines[0], lines[1], met)))["unmet"] == []


def test_text_that_must_not_come_is_told(tmp_path: Path) -> None:
    never = CAME.replace(" }]", ", count = 0 }]")
    written = only(demo(tmp_path, HEAD, request("write", WRITE, "[request.expect]", never), code=1))
    text = f"'hello {written['request_id']}\\n'"
    assert written["unmet"] == [f"writes[1].count: expected no {text} in log.txt, found 1 time"]


def test_dropped_task_can_be_expected(tmp_path: Path) -> None:
    lines = (
        'method = "POST"\npath = "/drop"\n[request.expect]\nstatus = 409\nverdict = "dropped"',
        'tasks = [{ task = "write", state = "dropped" }]',
        'writes = [{ file = "log.txt", text = "never\\n", count = 0 }]',
    )
    assert only(demo(tmp_path, HEAD, request("drop", *lines)))["unmet"] == []


@pytest.mark.parametrize(
    ("after", "told"), [("0.1", "after 0.1 s"), ('"queued"', "when a task was queued")], ids=["seconds", "queued"]
)
def test_client_may_hang_up_while_the_server_goes_on(after: str, told: str, tmp_path: Path) -> None:
    lines = WRITE.replace("/write", "/until-left"), f"hang_up_after = {after}", "[request.expect]"
    written = only(demo(tmp_path, HEAD, request("leave", *lines, 'verdict = "unproven"', CAME)))
    assert (written["status"], written["unmet"]) == (None, [])
    assert written["reason"] == f"no response: the client disconnected {told}"
    assert [task["state"] for task in written["tasks"]] == ["finished"]


def test_response_that_comes_before_the_client_hangs_up_is_taken(tmp_path: Path) -> None:
    lines = 'path = "/slow"\nquery = { seconds = 0 }\nhang_up_after = "queued"\nexpect.verdict = "no-work"'
    assert only(demo(tmp_path, HEAD, request("stay", lines)))["status"] == 200


def test_client_and_server_both_prove_a_later_write(tmp_path: Path) -> None:
    release = request("release", 'method = "POST"', 'path = "/release"', 'expect.verdict = "no-work"')
    held = request("held", WRITE.replace("/write", "/held"), "[request.expect]", CAME)
    written = demo(tmp_path, HEAD, held, release)["requests"][0]
    assert written["evidence"] == ["client+file", "server"]
    assert written["lead_ms"] > 0


def test_missing_write_is_given_up_after_its_own_limit(tmp_path: Path) -> None:
    other = 'writes = [{ file = "log.txt", text = "other ${mark}\\n", within = 0.2 }]\nverdict = "lost"'
    written = only(
        demo(tmp_path, HEAD, request("write", WRITE, "[request.expect]", other), arguments=("--timeout", "80"))
    )
    assert written["reason"].endswith("(not within 0.2 s)")
    assert [task["state"] for task in written["tasks"]] == ["finished"]


def test_unmet_expectation_shows_line_values_and_witness(tmp_path: Path) -> None:
    lines = (WRITE, "[request.expect]\nstatus = 201", CAME, 'verdict = "work-first"')
    (tmp_path / "my.toml").write_text(HEAD + request("write", *lines), encoding="utf-8")
    result = fastbg("demo", "my.toml", cwd=tmp_path, PYTHONPATH=str(ROOT), COLUMNS="120")
    told = result.stdout.decode()
    assert result.returncode == 1
    assert "write: not as expected\n  my.toml:11: status: expected 201, was 200 (client)" in told
    assert "  my.toml:14: verdict: expected work-first, was response-first (" in told
    assert told.count("●") == 3  # the time lines, the legend, and the failed request again


def test_wrong_script_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(HEAD.replace("app", "ap") + request("write", "pth = '/'"), encoding="utf-8")
    result = fastbg("demo", "my.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    told = result.stderr.decode()
    assert "my.toml:1: ap: unknown key; did you mean app?" in told
    assert "my.toml:6: request[1].pth: unknown key; did you mean path?" in told
    assert not (tmp_path / ".fastbg").exists()


def test_script_that_is_not_there_gets_a_suggestion(tmp_path: Path) -> None:
    result = fastbg("demo", "http-excepton", cwd=tmp_path)
    assert result.returncode == 2
    assert b"unknown script 'http-excepton'; did you mean http-exception?" in result.stderr


# signals


def test_signal_may_wait_until_the_tasks_have_started(tmp_path: Path) -> None:
    lines = WRITE.replace("/write", "/held"), 'expect.verdict = "lost"', 'expect.tasks = [{ task = "write_released" }]'
    one = request("one", *lines, "repeat = 3\nconcurrency = 3")
    two = request("two", *lines, 'signal = { name = "SIGKILL", after = "started" }')
    written = demo(tmp_path, HEAD, one, two)
    assert [task["state"] for found in written["requests"] for task in found["tasks"]] == ["started"] * 4
    assert all(found["reason"].endswith("(the script sent SIGKILL to the server)") for found in written["requests"])


def test_tasks_of_a_server_that_is_killed_are_lost_by_count(tmp_path: Path) -> None:
    lines = (
        'method = "POST"\npath = "/sleep"\nquery = { seconds = 30, text = "${mark}\\n" }',
        'repeat = 5\nconcurrency = 5\nsignal = { name = "SIGKILL" }\nexpect.verdict = "lost"',
    )
    after = request("after", 'path = "/echo"\nexpect.verdict = "unproven"\nexpect.status = 200', part="part.")
    again = request("again", 'path = "/echo"\nexpect.verdict = "no-work"', part="part.")
    parts = (
        '[[part]]\nname = "kill"',
        request("sleep", *lines, part="part."),
        after,
        '[[part]]\nname = "again"',
        again,
    )
    written = demo(tmp_path, HEAD, *parts, code=1)
    assert written["summary"]["lost"] == 5
    assert written["requests"][0]["reason"].endswith("(the script sent SIGKILL to the server)")
    assert written["requests"][5]["reason"] == "not sent: the script sent SIGKILL to the server"
    assert written["requests"][6]["verdict"] == "no-work"  # from a new server


def test_server_that_drains_after_sigterm_loses_nothing(tmp_path: Path) -> None:
    lines = (
        'method = "POST"\npath = "/sleep"\nquery = { seconds = 0.3, text = "${mark}\\n" }',
        'repeat = 3\nconcurrency = 3\nsignal = { name = "SIGTERM" }',
        'expect.writes = [{ file = "log.txt", text = "${mark}\\n" }]',
    )
    assert demo(tmp_path, HEAD, request("sleep", *lines))["summary"]["response_first"] == 3


# load


def test_each_write_of_many_requests_at_once_is_its_own(tmp_path: Path) -> None:
    fixed = request("fixed", WRITE.replace("${mark}", "all"), "[request.expect]", CAME.replace("${mark}", "all"))
    written = demo(
        tmp_path,
        HEAD,
        request("marked", WRITE, "[request.expect]", CAME),
        fixed,
        arguments=("--repeat", "150", "--concurrency", "25"),
    )
    assert written["summary"]["requests"] == written["summary"]["response_first"] == 300
    marked = [found for found in written["requests"] if found["name"] == "marked"]
    assert [found["writes"][0]["text"] for found in marked] == [f"hello {found['request_id']}\n" for found in marked]
    assert all(len(found["writes"]) == 1 for found in written["requests"])
    assert (tmp_path / ".fastbg" / "log.txt").read_text().count("hello all\n") == 150
    for group in written["groups"]:
        assert (group["requests"], group["unmet"], group["response_first"]) == (150, 0, 150)
        for times in (group["response_ms"], group["write_ms"], group["lead_ms"]):
            assert times["min"] <= times["p50"] <= times["p95"] <= times["p99"] <= times["max"]


def test_load_shows_distributions_and_one_case_per_name(tmp_path: Path) -> None:
    result = fastbg(
        "demo", "--work", "0", "--repeat", "12", "--concurrency", "4", "--junit", "all.xml", cwd=tmp_path, COLUMNS="100"
    )
    told = result.stdout.decode()
    assert result.returncode == 0, told
    assert "p50" in told
    assert re.search(
        r"^84 requests in [0-9.]+ s\. 60 response-first, 12 work-first, 12 no-work\. The clients waited",
        told,
        re.MULTILINE,
    )
    assert "12 response-first" in told
    assert "control, 12 times" in told
    cases = ET.parse(tmp_path / "all.xml").getroot().iter("testcase")
    assert [case.get("name") for case in cases][-1] == "control, 12 times"


def test_concurrency_without_as_many_repetitions_is_refused(tmp_path: Path) -> None:
    result = fastbg("demo", "--concurrency", "4", cwd=tmp_path)
    assert result.returncode == 2
    assert b"--repeat 4" in result.stderr


# several scripts


def test_several_scripts_share_summary_and_document(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(HEAD + request("a", WRITE, "[request.expect]", CAME), encoding="utf-8")
    (tmp_path / "bad.toml").write_text(HEAD + request("a", WRITE, "expect.status = 500"), encoding="utf-8")
    result = fastbg("demo", "good.toml", "bad.toml", "--junit", "r.xml", cwd=tmp_path, PYTHONPATH=str(ROOT))
    told = result.stdout.decode()
    assert result.returncode == 1
    assert "✗ 1 not" in told
    assert "Not as expected: bad." in told
    suites = ET.parse(tmp_path / "r.xml").getroot().findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["fastbg demo good", "fastbg demo bad"]
    result = fastbg("demo", "good.toml", "bad.toml", "--json", cwd=tmp_path, PYTHONPATH=str(ROOT))
    written = json.loads(result.stdout)
    assert (written["ok"], [run["script"] for run in written["runs"]]) == (False, ["good", "bad"])
    result = fastbg("demo", "good.toml", "bad.toml", "--quiet", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.stdout.decode().splitlines() == [
        "bad.toml:10: a: status: expected 500, was 200 (client)",
        "not ok: 2 scripts, 2 requests, 2 response-first, 1 not as expected, see bad",
    ]


@pytest.mark.parametrize("to", ["worker", "broker"])
def test_signal_without_its_process_is_refused(to: str, tmp_path: Path) -> None:
    script = tmp_path / "my.toml"
    script.write_text(HEAD + request("one", 'path = "/"', f'signal = {{ name = "SIGKILL", to = "{to}" }}'))
    result = fastbg("demo", script, cwd=tmp_path)
    assert result.returncode == 2
    assert f"request[1].signal.to: the part has no {to}: set worker to Taskiq's broker" in result.stderr.decode()


# a selection of requests


def test_only_runs_the_named_request_and_what_it_needs(tmp_path: Path) -> None:
    ask = 'path = "/echo"\nexpect.verdict = "no-work"'
    requests = [
        request("first", ask, 'save.id = "body.item.id"'),
        request("second", ask),
        request("third", ask, "query.id = '${id}'\nexpect.status = 201"),
    ]
    written = demo(tmp_path, HEAD, *requests, arguments=("--only", "third"), code=1)
    assert [found["name"] for found in written["requests"]] == ["first", "third"]
    assert written["remarks"] == [
        "selected 1 of 3 requests", 'sent as well, because a selected request needs it: "first"',
    ]  # fmt: skip
    result = fastbg("demo", tmp_path / "my.toml", "--only", "third", cwd=tmp_path, PYTHONPATH=str(ROOT), COLUMNS="200")
    line = (tmp_path / "my.toml").read_text().splitlines().index("expect.status = 201") + 1
    assert f"my.toml:{line}: status: expected 201, was 200" in result.stdout.decode()


def test_part_is_run_alone_and_named_in_the_result(tmp_path: Path) -> None:
    parts = [
        f'[[part]]\nname = "{name}"\n' + request("a", 'path = "/echo"\nexpect.verdict = "no-work"', part="part.")
        for name in ("one", "two")
    ]
    (tmp_path / "my.toml").write_text("\n".join([HEAD, *parts]))
    result = fastbg("demo", "my.toml:two", "--json", cwd=tmp_path, PYTHONPATH=str(ROOT))
    written = json.loads(result.stdout)
    assert (written["script"], [found["part"] for found in written["requests"]]) == ("my:two", ["two"])


def test_only_without_a_script_selects_from_the_default(tmp_path: Path) -> None:
    result = fastbg("demo", "--only", "control", "--work", "0", "--quiet", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"ok: 1 request, 1 work-first\n")


def test_unknown_name_of_only_is_refused(tmp_path: Path) -> None:
    result = fastbg("demo", "--only", "contrl", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"no request has the name 'contrl'; did you mean control?" in result.stderr
    assert not (tmp_path / ".fastbg").exists()


# files that are not appended to

FILES = HEAD.replace("scripted", "files").replace(
    '"log.txt"', '"log.txt", "shop.db", "map.bin", "report.part", "report.pdf", "export.tmp"'
)


def post(name: str, path: str, *writes: str, **more: str) -> str:
    lines = [f"{key} = {value}" for key, value in more.items()]
    return request(name, f'method = "POST"\npath = "{path}"', *lines, f"expect.writes = [{', '.join(writes)}]")


def test_what_tasks_do_to_files_is_seen_in_every_way(tmp_path: Path) -> None:
    texts = [
        post(name, f"/{name}/${{mark}}", f'{{ file = "{file}", text = "${{mark}}" }}', after='"tasks"')
        for name, file in (("note", "log.txt"), ("row", "shop.db"), ("map", "map.bin"))
    ]
    again = texts[1].replace("row", "next row", 1)
    move = post("move", "/move", '{ file = "report.part", deleted = true }', '{ file = "report.pdf", created = true }')
    download = request(
        "download", 'path = "/download"', 'expect.writes = [{ file = "export.tmp", deleted = true }]', 'after = "tasks"'
    )
    (tmp_path / ".fastbg").mkdir()
    (tmp_path / ".fastbg" / "map.bin").write_bytes(bytes(65536))
    written = demo(tmp_path, FILES, *texts, again, move, download)
    assert written["summary"]["response_first"] == 6
    changes = {found["name"]: [write["change"] for write in found["writes"]] for found in written["requests"]}
    assert changes["note"] == changes["row"] == changes["next row"] == changes["map"] == [None]
    assert sorted(changes["move"]) == ["created", "deleted"]
    assert changes["download"] == ["deleted"]


def test_requests_that_overwrite_each_other_lose_nothing(tmp_path: Path) -> None:
    marked = post("marked", "/note/${mark}", '{ file = "log.txt", text = "${mark}" }', repeat="9", concurrency="3")
    equal = post("equal", "/note/same", '{ file = "log.txt", text = "same" }', repeat="9", concurrency="3")
    written = demo(tmp_path, FILES, marked, equal)
    assert written["summary"]["response_first"] == 18
    assert {text for found in written["requests"] for text in found["evidence"]} <= {"server", "client+file"}


def test_text_that_the_endpoint_may_have_written_is_no_success(tmp_path: Path) -> None:
    now = [
        post(name, f"/{what}-now/${{mark}}", f'{{ file = "{file}", text = "${{mark}}" }}', after='"tasks"')
        for name, what, file in (("first", "note", "log.txt"), ("next", "note", "log.txt"), ("row", "row", "shop.db"))
    ]
    made = post("map", "/new-map/${mark}", '{ file = "map.bin", text = "${mark}" }', after='"tasks"')
    written = demo(tmp_path, FILES, *now, made, code=1)["requests"]
    assert {each["verdict"] for each in written[:-1]} <= {"work-first", "unproven"}  # by when the follower read it
    assert written[-1]["verdict"] == "unproven"
    assert written[-1]["reason"].startswith("contradictory evidence: map.bin had already been changed")


def test_text_that_nobody_wrote_is_lost_or_in_doubt(tmp_path: Path) -> None:
    other = post("other", "/row/${mark}", '{ file = "log.txt", text = "${mark}", within = 0.2 }')
    wrong = post("wrong", "/note/wrong", '{ file = "log.txt", text = "${mark}", within = 0.2 }', after='"tasks"')
    (tmp_path / ".fastbg").mkdir()
    (tmp_path / ".fastbg" / "log.txt").write_text("wrong", encoding="utf-8")
    lost, unproven = demo(tmp_path, FILES, other, wrong, code=1)["requests"]
    assert lost["verdict"] == "lost"
    assert lost["reason"] == f"log.txt never got '{lost['request_id']}' (not within 0.2 s)"
    assert unproven["verdict"] == "unproven"
    assert unproven["unmet"][1] == f"writes[1].count: expected '{unproven['request_id']}' in log.txt, unknown"
