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


def test_what_is_not_known_to_queue_is_not_sent(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, UNKNOWN), "--json", "--app", "src/shop.py")
    written = json.loads(shown)
    assert [(each["name"], each["status"], each["verdict"], each["expected"]) for each in written["requests"]] == [
        ("GET /export", 200, "response-first", "response-first"),
    ]
    assert written["remarks"] == [
        "not sent, because it may destroy data: DELETE /everything (write a script with --init)",
        "not sent, because they are not known to queue a task: POST /orders, GET /items/{number} (write a script with"
        " --init)",
    ]
    assert (tmp_path / "log.txt").read_text() == "exported"


def test_failed_task_is_not_as_expected(tmp_path: Path) -> None:
    shown, _ = run(shop(tmp_path, FAILING), "--app", "shop", code=1)
    assert "  verdict: expected response-first, was failed (server)\n" in shown  # no line of a script that nobody wrote


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


# --init


def test_init_writes_one_name_per_line(tmp_path: Path) -> None:
    folder = shop(tmp_path, UNKNOWN)
    shown, _ = run(folder, "--init", "my shop.toml", "--app", "shop")
    assert shown == (
        "Wrote my shop.toml with 1 request:\n"
        "  GET /export\n"
        "Commented out, because it may destroy data:\n"
        "  DELETE /everything\n"
        "Commented out, because they are not known to queue a task:\n"
        "  POST /orders\n"
        "  GET /items/{number}\n"
        "Run it: fastbg demo 'my shop.toml'\n"
    )
    assert run(folder, "--quiet", "my shop.toml")[0] == "ok: 1 request, 1 response-first\n"


def test_init_names_few_of_many_commented_out_requests(tmp_path: Path) -> None:
    routes = "\n".join(f"@app.get('/{number}')\nasync def read_{number}(): pass" for number in range(23))
    (tmp_path / "many.py").write_text(f"from fastapi import FastAPI\napp = FastAPI()\n{routes}\n", encoding="utf-8")
    shown, _ = run(tmp_path, "--init", "many.toml", "--app", "many")
    assert shown.splitlines()[-3:] == ["  GET /19", "  and 3 more", "Run it: fastbg demo many.toml"]
    assert "/22" in (tmp_path / "many.toml").read_text()


def test_init_writes_the_folder_as_seen_from_the_script(tmp_path: Path) -> None:
    folder = shop(tmp_path, KNOWN)
    (folder / "scripts").mkdir()
    run(folder, "--init", "scripts/first.toml", "--app", "shop")
    text = (folder / "scripts" / "first.toml").read_text()
    assert 'app = "shop:service"\nfolder = ".."\n' in text
    assert "Run it: fastbg demo first.toml\n" in text
    assert "\n# adds tasks: src/shop.py:14 tasks.add_task(work, 'ordered')\n" in text
    assert not (folder / "log.txt").exists()  # nothing was run


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["src/shop.py"], 'folder = "."\n'),
        (["shop", "--app-dir", "backend"], 'folder = "."\nserver.app_dir = "backend"\n'),
        (["backend/shop.py"], 'folder = "."\nserver.app_dir = "backend"\n'),
    ],
)
def test_script_runs_where_it_was_written(arguments: Sequence[str], keys: str, tmp_path: Path) -> None:
    """A relative file of the app, such as .env, is found in the project's root, as with `demo --app`."""
    folder = shop(tmp_path, KNOWN + "assert open('.env').read() == 'A=1'\n")
    (folder / ".env").write_text("A=1")
    (folder / "backend").mkdir()
    (folder / "backend" / "shop.py").write_text((folder / "src" / "shop.py").read_text() + "import only_here\n")
    (folder / "backend" / "only_here.py").touch()
    run(folder, "--init", "first.toml", "--app", *arguments)
    assert f'app = "shop:service"\n{keys}# The files' in (folder / "first.toml").read_text()
    assert run(folder, "--quiet", "first.toml")[0] == "ok: 1 request, 1 response-first\n"
    assert (folder / "log.txt").read_text() == "ordered"


SEEN = """
import datetime

@service.post("/orders/{name}", status_code=201)
def order(name: str, tasks: BackgroundTasks):
    tasks.add_task(work, f"order {name}\\n")
    tasks.add_task(stamp, name)

def stamp(name: str) -> None:
    with open("stamps.log", "a") as log:
        log.write(f"{datetime.datetime.now()} {name}\\n")

@service.get("/export")
def export(tasks: BackgroundTasks):
    return JSONResponse({"detail": "not today"}, 503, background=tasks)

@service.put("/fail")
def fail(tasks: BackgroundTasks):
    tasks.add_task(open, "/no/such/file")

@service.post("/secret")
def secret():
    work("SECRET")

@service.delete("/orders")
def delete_orders(tasks: BackgroundTasks):
    tasks.add_task(work, "DELETED")
"""


def test_init_with_run_writes_what_it_saw(tmp_path: Path) -> None:
    folder = shop(tmp_path, SEEN)
    (folder / "log.txt").write_text("before\n")
    shown, _ = run(folder, "--init", "first.toml", "--app", "shop", "--run")
    assert shown.startswith(
        "Wrote first.toml with 3 requests, sent once:\n"
        "  POST /orders/{name}: 201, response-first, work, stamp\n"
        "  GET /export: 503, no-work\n"
        "  PUT /fail: 200, failed, open\n"
        "Commented out, "
    ), shown
    text = (folder / "first.toml").read_text()
    assert "SECRET" not in (folder / "log.txt").read_text()
    assert 'follow = ["log.txt", "stamps.log"]\n' in text
    assert (
        "# adds tasks: src/shop.py:16 tasks.add_task(work, f'order {name}\\n')\n"
        "expect.status = 201\n"
        'expect.verdict = "response-first"\n'
        'expect.tasks = ["work", "stamp"]\n'
        "expect.writes = [\n"
        '    { file = "log.txt", text = "order ${mark}\\n" },\n'
    ) in text
    assert "# takes BackgroundTasks: src/shop.py:23 export(tasks: BackgroundTasks)\n# seen: " in text
    assert '# seen: no-work, no background task was queued; the response: {"detail":"not today"}\n' in text
    assert re.search("\n# seen: failed, .*FileNotFoundError.*\nexpect.status = 200\n", text)
    assert run(folder, "--quiet", "first.toml")[0].startswith("ok: 3 requests, 1 response-first")


@pytest.mark.parametrize("arguments", [(), ("--run",)])
def test_failed_init_leaves_no_file(arguments: Sequence[str], tmp_path: Path) -> None:
    folder = shop(tmp_path, KNOWN + "@service.on_event('startup')\ndef fail(): raise LookupError('no database')\n")
    name, code = ("first.toml", 2) if arguments else ("none/first.toml", 2)
    run(folder, "--init", name, "--app", "shop", *arguments, code=code)
    assert not list(folder.rglob("*.toml"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_leaves_no_file(number: signal.Signals, code: int, tmp_path: Path) -> None:
    wait = "import threading\n@service.post('/wait')\ndef wait(tasks: BackgroundTasks):\n    work('waits.')\n"
    folder = shop(tmp_path, wait + "    threading.Event().wait()\n    tasks.add_task(work, 'x')\n")
    command = [*FASTBG, "demo", "--init", "first.toml", "--app", "shop", "--run"]
    process = subprocess.Popen(command, cwd=folder, env=environment())
    wait_for(folder / "log.txt", rb"waits\.")
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == code
    assert not list(folder.rglob("*.toml"))


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (shop(tmp_path, KNOWN) / "first.toml").write_text("mine")
    _, said = run(tmp_path, "--init", "first.toml", "--app", "shop", code=2)
    assert said[:2] == ["fastbg: the script cannot be written: the file already exists", "  where: first.toml"]
    assert (tmp_path / "first.toml").read_text() == "mine"


def test_run_needs_init(tmp_path: Path) -> None:
    _, said = run(shop(tmp_path, KNOWN), "--run", "--app", "shop", code=2)
    assert said[0] == "fastbg: --run needs a new script"


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
