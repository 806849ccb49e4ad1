"""`fastbg demo --app`: a first script for one's own app is written and run in one command, and nothing is destroyed."""

import json
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, is_running, wait_for, wait_until
from tests.support.servers import ROOT, fastbg_serve, uvicorn

HEAD = """
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask
service = FastAPI()
print("imported", flush=True)

def work(text: str) -> None:
    with open("log.txt", "a") as log:
        log.write(text)
"""
KNOWN = """
@service.post("/orders/{name}")
def order(name: str, tasks: BackgroundTasks):
    tasks.add_task(work, "ordered")

@service.delete("/orders")
def delete_orders(tasks: BackgroundTasks):
    tasks.add_task(work, "DELETED")

@service.get("/orders")
def orders():
    work("GOT")
"""
UNKNOWN = """
@service.delete("/everything")
def everything():
    work("DELETED")

@service.post("/orders")
def order():
    work("CHANGED")

@service.get("/items/{number}")
def item(number: int):
    return JSONResponse({}, 404)

@service.get("/export")
def export():
    return JSONResponse({}, background=BackgroundTask(work, "exported"))
"""
FAILING = """
@service.get("/export")
def export():
    return JSONResponse({}, background=BackgroundTask(open, "/no/such/file"))
"""


def shop(folder: Path, code: str) -> Path:
    (folder / "src").mkdir()
    (folder / "src" / "shop.py").write_text(HEAD + code)
    return folder


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, Sequence[str]]:
    result = fastbg("demo", *arguments, cwd=folder, COLUMNS="200")
    assert result.returncode == code, result
    return result.stdout.decode(), result.stderr.decode().splitlines()


def test_routes_that_take_tasks_are_requested(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, KNOWN), "--app", "shop")
    assert shown.startswith("fastbg demo --app shop  shop:service\n")
    assert re.search(r"\nPOST /orders/\{name\} .* response-first *\n  POST /orders/\S+ → 200 ", shown)
    assert "not sent, because it may destroy data: DELETE /orders (write a script with --init)\n" in shown
    assert shown.endswith("Write these requests to a script: fastbg demo --init FILE.toml --app shop\n")
    assert (tmp_path / "log.txt").read_text() == "ordered"


def test_without_such_a_route_it_only_reads(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, UNKNOWN), "--json", "--app", "src/shop.py")
    written = json.loads(shown)
    assert [(each["name"], each["status"], each["verdict"], each["expected"]) for each in written["requests"]] == [
        ("GET /items/{number}", 404, "no-work", "any"),
        ("GET /export", 200, "response-first", "any"),
    ]
    assert written["remarks"] == [
        "not sent, because it may destroy data: DELETE /everything (write a script with --init)",
        "not sent, because it may change data: POST /orders (write a script with --init)",
    ]
    assert (tmp_path / "log.txt").read_text() == "exported"


def test_failed_task_is_not_as_expected(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, FAILING), "--app", "shop", code=1)
    assert "  verdict: expected any, was failed (server)\n" in shown  # no line of a script that nobody wrote


def test_app_that_can_only_be_changed_is_not_requested(tmp_path: Path) -> None:
    code = '\n@service.post("/wipe")\ndef x(): work("WIPED")\n'
    _, said = run(shop(tmp_path, code), "--app", "shop", code=2)
    assert said == [
        "fastbg: fastbg found no request that it may send to shop:service unasked",
        "  where: shop:service",
        "    not sent, because it may destroy data: POST /wipe",
        "  fix: write a script, and choose its requests: fastbg demo --init FILE.toml --app shop",
    ]
    assert not (tmp_path / "log.txt").exists()


def test_app_can_lock_a_file_and_start_threads_when_imported(tmp_path: Path) -> None:
    lock = "import atexit, fcntl, threading\nlocked = open('lock', 'w')\nfcntl.flock(locked, 6)\n"
    wait = "threading.Thread(target=threading.Event().wait).start()\natexit.register(open, 'left', 'w')\n"
    shown, _ = run(shop(tmp_path, KNOWN + lock + wait), "--quiet", "--timeout", "30", "--app", "shop")
    assert shown == "ok: 1 request, 1 response-first\n"
    assert (tmp_path / "left").exists()


def test_app_that_ends_its_process_is_an_error(tmp_path: Path) -> None:
    code = "import os\nprint('no licence', flush=True)\nos._exit(3)\n"
    _, said = run(shop(tmp_path, code), "--app", "shop", code=2)
    assert said == [
        "fastbg: the app could not be loaded: its process ended with 3",
        "  where: shop",
        "    | imported",
        "    | no licence",
        "  fix: fix the app: its last output is above",
    ]


def test_import_ends_with_fastbg(tmp_path: Path) -> None:
    folder = shop(tmp_path, "import os, time\nopen('pid', 'w').write(f'{os.getpid()}.')\ntime.sleep(3600)\n")
    process = subprocess.Popen([*FASTBG, "demo", "--app", "shop"], cwd=folder, env=environment())
    pid = int(wait_for(folder / "pid", rb"\.")[:-1])
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    wait_until(lambda: not is_running(pid))


def test_init_comments_out_what_may_destroy(tmp_path: Path) -> None:
    folder = shop(tmp_path, UNKNOWN)
    shown, _ = run(folder, "--init", "my shop.toml", "--app", "shop")
    assert shown == (
        "imported\n"
        "Wrote my shop.toml with 2 requests: GET /items/{number}, GET /export\n"
        "Commented out, because it may destroy data: DELETE /everything\n"
        "Commented out, because it may change data: POST /orders\n"
        "Run it: fastbg demo 'my shop.toml'\n"
    )
    assert run(folder, "--quiet", "my shop.toml")[0] == "ok: 2 requests, 1 response-first, 1 no-work\n"


# A running server


def test_default_script_is_not_sent_to_another_app(tmp_path: Path) -> None:
    with uvicorn("tests.apps.foreign.tutorial:app", tmp_path, PYTHONPATH=str(ROOT)) as url:
        _, said = run(tmp_path, "--url", url, code=2)
    assert said == [
        "fastbg: the server does not serve the example app, and the default script is only for that",
        f"  where: {url}/openapi.json",
        "  fix: name a script for that app; fastbg demo --init FILE.toml --app APP writes a first one",
    ]
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("place", ["", "/"])
def test_default_script_is_sent_to_the_example(tmp_path: Path, place: str) -> None:
    with fastbg_serve("--work", "0", cwd=tmp_path) as url:
        assert run(tmp_path, "--quiet", "--url", url + place)[0].startswith("ok: 7 requests")


def test_failure_of_a_draft_has_no_file(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, FAILING), "--app", "shop", "--quiet", code=1)
    assert shown.startswith("GET /export: verdict: ")
    assert "None" not in shown
