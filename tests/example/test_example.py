"""The example app: the same behaviour as the seed, byte for byte, and 422 for bad input."""

import http.client
import re
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastbg.recorder.journal_lines import read_journal_line
from tests.support.processes import PATIENCE_S, read_until, wait_for
from tests.support.servers import fastbg_serve, fetch, uvicorn

QUOTE = "\n## \n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n 框架精讲"
REQUESTS = [  # with the end of the written text
    ("/background_tasks", {"framework": "FastAPI"}, "\n## FastAPI 框架精讲"),
    ("/background_tasks", {"framework": "框架 🙂 a & b # [red]x[/red]"}, "[red]x[/red] 框架精讲"),
    ("/background_tasks", {"framework": ""}, "\n##  框架精讲"),
    ("/background_tasks", {"framework": "\u202e\u2066\u200b\ufeff\u061c \U000e0041"}, " \U000e0041 框架精讲"),
    ("/background_tasks", {}, ""),
    ("/dependency/background_tasks", {"q": "hello"}, QUOTE),
    ("/dependency/background_tasks", {"q": ""}, ""),
    ("/dependency/background_tasks", {}, ""),
    ("/send-notification/you@example.com", {"q": "你好 world"}, "message to you@example.com\n"),
    ("/send-notification/you+tag@sub.example.org", {"q": ""}, "message to you+tag@sub.example.org\n"),
    ("/send-notification/名字@例子.中国", {}, "message to 名字@例子.中国\n"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the example app without slow work."""
    with uvicorn("fastbg.example:app", cwd=tmp_path_factory.mktemp("example"), FASTBG_WORK="0") as url:
        yield url


GATED = """
import importlib, itertools, os, time, types

example = importlib.import_module("fastbg.example.app")
calls = itertools.count(1)

def sleep(seconds):
    number = next(calls)
    with open(f"begun-{number}", "w") as begun:
        begun.write("begun")
    while not os.path.exists(f"done-{number}"):
        time.sleep(0.005)

example.time = types.SimpleNamespace(sleep=sleep)
app = example.app
"""


@contextmanager
def gated(folder: Path) -> Iterator[tuple[str, Callable[[int], None]]]:
    """Yield the URL of the example app, and a function that ends the slow work of write number 1, 2, …"""
    (folder / "gated.py").write_text(GATED)

    def end_work(number: int) -> None:
        (folder / f"done-{number}").touch()

    with uvicorn("gated:app", cwd=folder, FASTBG_WORK="1") as url:
        try:
            yield url, end_work
        finally:
            for number in range(1, 10):  # otherwise the server does not exit
                end_work(number)


def written(folder: Path) -> dict[str, bytes]:
    names = ("README.md", "log.txt")
    return {name: (folder / name).read_bytes() if (folder / name).exists() else b"" for name in names}


def test_responses_and_files_match_the_seed_byte_for_byte(tmp_path: Path) -> None:
    ours, seeds = tmp_path / "ours", tmp_path / "seed"
    seeds.mkdir()
    with (
        uvicorn("fastbg.example:app", cwd=tmp_path, FASTBG_DIR=str(ours), FASTBG_WORK="0") as our_url,
        uvicorn("tests.apps.seed:app", cwd=seeds) as seed_url,
    ):
        for path, query, end in REQUESTS:
            one, other = (fetch("POST", url + path, params=query) for url in (our_url, seed_url))
            assert (one.status_code, one.headers["content-type"]) == (other.status_code, other.headers["content-type"])
            if one.status_code == 200:
                assert one.content == other.content
            for folder in (ours, seeds):  # tasks of the next request may run before these
                wait_for(
                    folder / ("log.txt" if end.startswith("message") else "README.md"), re.escape(end.encode()) + b"$"
                )
    assert written(ours) == written(seeds)
    assert written(ours)["README.md"].decode().count("\n## ") == 5
    assert written(ours)["log.txt"].decode().count("\n") == 4


def test_tasks_of_three_levels_run_in_queue_order(tmp_path: Path) -> None:
    with gated(tmp_path) as (url, end_work):
        response = fetch("POST", f"{url}/sub-dependency/background_tasks", params={"framework": "F", "q": "Q"})
        log, readme = tmp_path / ".fastbg" / "log.txt", tmp_path / ".fastbg" / "README.md"
        assert (response.json(), log.exists()) == ({"message": "任务已在后台运行"}, False)
        end_work(1)
        assert wait_for(log, b"query.*\n") == b"found query: Q\n"
        end_work(2)
        assert wait_for(log, b"framework.*\n") == b"found query: Q\nframework: F\n"
        assert not readme.exists()
        end_work(3)
        assert wait_for(readme, "框架精讲".encode()) == "\n## F 框架精讲".encode()


def test_only_the_control_writes_before_it_responds(tmp_path: Path) -> None:
    readme = tmp_path / ".fastbg" / "README.md"
    with gated(tmp_path) as (url, end_work):
        assert fetch("POST", f"{url}/background_tasks", params={"framework": "B"}).status_code == 200
        assert not readme.exists()
        end_work(1)
        wait_for(readme, b"## B")
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE_S) as connection:
            connection.sendall(b"POST /foreground_tasks?framework=C HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            wait_for(tmp_path / "begun-2", b"begun")
            assert not select.select([connection], [], [], 0)[0]  # no response yet
            end_work(2)
            response = read_until(connection.fileno(), b"}$")
        assert readme.read_bytes().endswith("\n## C 框架精讲".encode())
    assert response.endswith('\r\n\r\n{"message":"任务已完成"}'.encode())


BAD_TEXTS = [
    "a\nb", "a\rb", "a\tb", "\x1b[31m", "\x00", "\x1f", "\x7f", "\x80", "\x9b2J", "\x9f", "\u2028", "\u2029", "end\n",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/background_tasks", "framework"),
        ("/foreground_tasks", "framework"),
        ("/dependency/background_tasks", "q"),
        ("/send-notification/you@example.com", "q"),
        ("/sub-dependency/background_tasks", "q"),
        ("/sub-dependency/background_tasks", "framework"),
    ],
)
def test_text_with_control_characters_is_refused(url: str, text: str, path: str, parameter: str) -> None:
    response = fetch("POST", url + path, params={"framework": "plain", parameter: text})
    assert response.status_code == 422
    assert {tuple(fault["loc"]) for fault in response.json()["detail"]} == {("query", parameter)}


@pytest.mark.parametrize(
    "email",
    [
        "nobody", "a@b", "@example.com", "a@.com@", "a b@example.com", "a@example.com\n", "a@exam\x1bple.com",
        "a@example.com\x9b", "a\u2028@example.com", "a@b@example.com", "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com", "../../x@a.b",
    ],
)  # fmt: skip
def test_bad_email_is_refused(url: str, email: str) -> None:
    path = "".join(f"%{byte:02x}" for byte in email.encode())
    assert fetch("POST", f"{url}/send-notification/{path}").status_code in (404, 422)


def test_text_is_accepted_up_to_the_length_limit(url: str) -> None:
    for path, parameter, limit in (("/background_tasks", "framework", 100), ("/dependency/background_tasks", "q", 200)):
        assert fetch("POST", url + path, params={parameter: "字" * limit}).status_code == 200
        assert fetch("POST", url + path, params={parameter: "字" * (limit + 1)}).status_code == 422


def test_refused_request_queues_and_writes_nothing(tmp_path: Path) -> None:
    """Also if a dependency with a valid parameter has already queued its task."""
    with uvicorn("fastbg.example:app", cwd=tmp_path, FASTBG_WORK="0") as url:
        for path, query in (
            ("/background_tasks", {"framework": "a\nb"}),
            ("/send-notification/nobody", {"q": "valid"}),
            ("/sub-dependency/background_tasks", {"framework": "a\nb", "q": "valid"}),
            ("/dependency/background_tasks", {"q": "\x1b"}),
            ("/foreground_tasks", {"framework": "x" * 101}),
        ):
            assert fetch("POST", url + path, params=query).status_code == 422
    assert written(tmp_path / ".fastbg") == {"README.md": b"", "log.txt": b""}


def test_invalid_utf8_cannot_forge_a_line(tmp_path: Path) -> None:
    with uvicorn("fastbg.example:app", cwd=tmp_path, FASTBG_WORK="0") as url:
        assert fetch("POST", f"{url}/background_tasks?framework=a%ff%1b").status_code == 422
        assert fetch("POST", f"{url}/background_tasks?framework=../../x%ff").status_code == 200
    assert (tmp_path / ".fastbg" / "README.md").read_text("utf-8") == "\n## ../../x\ufffd 框架精讲"
    assert [path.name for path in tmp_path.iterdir()] == [".fastbg"]


def test_documentation_has_summaries_and_examples(url: str) -> None:
    document = fetch("GET", f"{url}/openapi.json").json()
    assert document["info"]["description"]
    operations = {path: methods["post"] for path, methods in document["paths"].items()}
    assert set(operations) == {
        "/background_tasks",
        "/dependency/background_tasks",
        "/send-notification/{email}",
        "/sub-dependency/background_tasks",
        "/foreground_tasks",
    }
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        assert operation["responses"]["200"]["content"]["application/json"]["example"]["message"]
        assert all(parameter["description"] for parameter in operation["parameters"])
        assert all("examples" in str(parameter) for parameter in operation["parameters"])
    assert fetch("GET", f"{url}/docs").status_code == 200


HOLDING = """
import os, time
from fastbg.example import app

@app.get("/hold/{number}")
async def hold(number: int):  # this process handles no other request meanwhile
    with open(f"holding-{number}", "w") as holding:
        holding.write("holding")
    while not os.path.exists("released"):
        time.sleep(0.005)
    return os.getpid()
"""


def send_all(url: str, numbers: Iterable[int]) -> None:
    """Send these requests one after the other on one connection. Not with httpx: it is slower than the app."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    with closing(connection):
        for n in numbers:
            mail, heading = f"/send-notification/a{n}@example.com?q=q{n}", f"/background_tasks?framework=F{n}"
            connection.request("POST", mail if n % 2 else heading)
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (200, True)


def test_four_workers_lose_and_mix_no_writes(tmp_path: Path) -> None:
    journal = tmp_path / ".fastbg" / "journal.jsonl"
    (tmp_path / "own.py").write_text(HOLDING)
    with fastbg_serve("own:app", "--workers", "4", "--work", "0", cwd=tmp_path) as url, ThreadPoolExecutor(16) as pool:
        before = {"X-Fastbg-Request-ID": "before"}
        held = []
        try:
            for number in range(4):  # each handled by a different worker
                held.append(pool.submit(fetch, "GET", f"{url}/hold/{number}", headers=before))
                wait_for(tmp_path / f"holding-{number}", b"holding")
        finally:
            (tmp_path / "released").touch()
        assert len({future.result().json() for future in held}) == 4
        list(pool.map(lambda first: send_all(url, range(first, 1000, 16)), range(16)))
    files = written(tmp_path / ".fastbg")
    lines = files["log.txt"].decode().splitlines()
    assert sorted(lines) == sorted(
        line for n in range(1, 1000, 2) for line in (f"found query: q{n}", f"message to a{n}@example.com")
    )
    headings = re.findall("\n## (F[0-9]+) 框架精讲", files["README.md"].decode())
    assert sorted(headings) == sorted(f"F{n}" for n in range(0, 1000, 2))
    events = [read_journal_line(line) for line in journal.read_bytes().splitlines()]
    names = Counter(event.name for event in events if event and event.request_id != "before")
    assert None not in events
    assert names["task_finished"] == names["task_started"] == names["task_queued"] == 1500
    assert names["request_received"] == names["response_sent"] == names["request_finished"] == 1000
    assert len(files["README.md"]) == sum(len(f"\n## {heading} 框架精讲".encode()) for heading in headings)
