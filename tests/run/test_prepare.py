"""Folders, server settings, requests and saved values from a script."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from fastbg.run.prepare import RequestTemplate, RunPaths, settings_of
from fastbg.scripting.reader import Source, read_script
from fastbg.server.settings import ServerSettings
from tests.support.operations import is_linear

SCRIPT = """
app = "shop:app"
folder = "sub"
follow = ["log.txt", "${dir}/more.txt"]
env = { MODE = "${dir}" }
server = { timeout_keep_alive = 1 }

[[part]]
name = "before"
[[part.request]]
name = "id"
path = "/"
save = { id = "status" }

[[part]]
name = "first"
[[part.request]]
name = "order"
method = "POST"
path = "/orders/${mark}"
query = { n = "${id}" }
headers = { x-who = "me ${mark}" }
files = [{ field = "f", path = "upload.bin" }]
save = { next = "body.items.0.id", where = "headers.location", code = "status", none = "body.nothing" }
[part.request.expect]
status = [200, 201]
writes = [{ file = "log.txt", pattern = "^order ${mark} [0-9]+" }]
tasks = [{ task = "work", within = 2 }]

[[part]]
name = "second"
app = "other:app"
env = { MORE = "1" }
server = {}
[[part.request]]
name = "get"
path = "/"
"""


def source(folder: Path) -> Source:
    (folder / "sub").mkdir()
    (folder / "sub" / "upload.bin").write_bytes(b"\x00\xff")
    return read_script(SCRIPT, "shop.toml", folder, {})


def paths(made: Source, folder: Path) -> RunPaths:
    return RunPaths.of(made, folder / "data", {"dir": str(folder / "data")})


def test_files_are_relative_to_the_folder_of_the_app(tmp_path: Path) -> None:
    found = paths(source(tmp_path), tmp_path)
    assert found.folder == tmp_path / "sub"
    assert list(found.files.values()) == [tmp_path / "sub" / "log.txt", tmp_path / "data" / "more.txt"]


def test_server_of_a_part_and_of_the_script(tmp_path: Path) -> None:
    made = source(tmp_path)
    found, known = paths(made, tmp_path), {"dir": "/data"}
    base = ServerSettings("", directory=tmp_path / "data")
    first, second = (settings_of(made.script, part, found, known, base) for part in made.script.parts[1:])
    assert (first.app, first.env, first.options) == ("shop:app", (("MODE", "/data"),), (("timeout_keep_alive", 1),))
    assert (second.app, second.env, second.options) == ("other:app", (("MODE", "/data"), ("MORE", "1")), ())
    assert {first.app_dir, first.run_in, second.app_dir, second.run_in} == {tmp_path / "sub"}


def test_app_of_the_command_line_is_served_where_it_is(tmp_path: Path) -> None:
    made = source(tmp_path)
    base = ServerSettings("mine:app", directory=tmp_path / "data", app_dir=tmp_path)
    wanted = settings_of(made.script, made.script.parts[1], paths(made, tmp_path), {"dir": "/data"}, base)
    assert (wanted.app, wanted.app_dir, wanted.run_in) == ("mine:app", tmp_path, None)


def test_request_is_filled_in_with_known_values(tmp_path: Path) -> None:
    made = source(tmp_path)
    template = RequestTemplate(made, made.script.parts[1], 0, paths(made, tmp_path))
    assert template.needs == {"mark", "id"}
    sent = template.outgoing({"mark": "ab-1", "id": 7, "dir": "/data"})
    assert (sent.method, sent.path, sent.query, sent.headers) == (
        "POST", "/orders/ab-1", {"n": 7}, {"x-who": "me ab-1"},
    )  # fmt: skip
    assert list(sent.files) == [("f", ("file", b"\x00\xff", "application/octet-stream"))]


def test_expectations_are_filled_in_and_in_milliseconds(tmp_path: Path) -> None:
    made = source(tmp_path)
    template = RequestTemplate(made, made.script.parts[1], 0, paths(made, tmp_path))
    trace = template.trace({"mark": "a-1", "id": 7}, url="/", journal=True, name="order")
    (write,) = trace.expected.writes
    assert (write.file, write.text, write.has_id) == (str(tmp_path / "sub" / "log.txt"), r"^order a\-1 [0-9]+", True)
    assert trace.expected.statuses == (200, 201)
    assert [task.within_ms for task in trace.expected.tasks or ()] == [2000]


def test_saved_values_are_found_or_named_as_missing(tmp_path: Path) -> None:
    made = source(tmp_path)
    template = RequestTemplate(made, made.script.parts[1], 0, paths(made, tmp_path))
    response: Any = SimpleNamespace(status=201, headers=httpx.Headers({"Location": "/x"}), cookies={})
    found, missing = template.saved(response, {"items": [{"id": 5}]})
    assert found == {"next": 5, "where": "/x", "code": 201}
    assert missing == {"none": "body.nothing"}


def test_work_is_linear_in_the_requests_of_a_script(tmp_path: Path) -> None:
    def work(number: int) -> None:
        text = 'app = "app:app"\n' + '[[request]]\npath = "/"\n' * number
        made = read_script(text, "s.toml", tmp_path, {})
        (part,), where = made.script.all_parts, paths(made, tmp_path)
        lines = [RequestTemplate(made, part, n, where).line for n in range(number)]
        assert lines == list(range(2, 2 * number + 2, 2))

    assert is_linear(work, 40)
