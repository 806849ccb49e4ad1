"""A script starts the user's own server with `command`."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fastbg.errors import ScriptError, ServerError
from fastbg.scripting.reader import read_script
from fastbg.server.command import find_program
from tests.support.processes import fastbg, is_running, wait_until
from tests.support.servers import ROOT

UVICORN = ["uvicorn", "--port", "${port}", "tests.apps.tasks:app"]
REQUEST = '[[request]]\nname = "order"\nmethod = "POST"\npath = "/orders"\nexpect.tasks = ["write"]\n'


def demo(folder: Path, command: list[str], *options: str, script: str = REQUEST) -> tuple[int, str, dict[str, Any]]:
    """Run a script with ``command``. Return the exit code, standard error and the document."""
    text = f'command = {json.dumps(command)}\nfollow = ["orders.txt"]\n{script}'
    (folder / "shop.toml").write_text(text, encoding="utf-8")
    result = fastbg("demo", "shop.toml", "--json", *options, cwd=folder, PYTHONPATH=str(ROOT))
    return result.returncode, result.stderr.decode(), json.loads(result.stdout) if result.stdout else {}


@pytest.mark.parametrize(
    "command",
    [
        UVICORN,
        ["gunicorn", "-k", "asgi", "-w", "2", "-b", "127.0.0.1:${port}", "tests.apps.tasks:app"],
        ["hypercorn", "-b", "127.0.0.1:${port}", "tests.apps.tasks:app"],
    ],
    ids=["uvicorn", "gunicorn", "hypercorn"],
)
def test_server_of_the_command_is_proved_and_stopped(command: list[str], tmp_path: Path) -> None:
    writes = 'expect.writes = [{ file = "orders.txt", text = "order\\n" }]\n'
    code, errors, document = demo(tmp_path, command, script=REQUEST + writes)
    assert (code, errors) == (0, "")
    (request,) = document["requests"]
    assert (request["verdict"], "server" in request["evidence"]) == ("response-first", True)
    assert (tmp_path / "orders.txt").read_text() == "order\n"  # it runs in the folder of the script
    journal = (tmp_path / ".fastbg" / "journal.jsonl").read_text()
    pids = re.findall(r'"pid":(\d+),"event":"recording_started"', journal)
    assert pids
    wait_until(lambda: not any(is_running(int(pid)) for pid in pids))  # a killed process takes a moment


def test_what_the_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    command = ["sh", "-c", f'sleep 1000 & echo $! > left; exec {sys.executable} -m uvicorn --port "$1" "$2"']
    code, errors, _ = demo(tmp_path, [*command, "sh", "${port}", "tests.apps.tasks:app"])
    assert (code, errors) == (0, "")
    left = int((tmp_path / "left").read_text())
    wait_until(lambda: not is_running(left))


def test_parts_with_commands_have_servers_of_their_own(tmp_path: Path) -> None:
    part = '[[part]]\nname = "{}"\n{}[[part.request]]\nname = "order {}"\nmethod = "POST"\npath = "/orders"\n'
    own = f"command = {json.dumps(['hypercorn', '-b', '127.0.0.1:${port}', 'tests.apps.tasks:app'])}\n"
    app = f'app = "tests.apps.tasks:app"\nserver = {{ app_dir = {json.dumps(str(ROOT))} }}\n'
    script = "".join(part.format(name, more, name) for name, more in (("a", ""), ("b", own), ("c", app)))
    code, errors, _ = demo(tmp_path, UVICORN, script=script)
    assert (code, errors) == (0, "")
    journal = (tmp_path / ".fastbg" / "journal.jsonl").read_text()
    assert re.findall(r'"server_name":"(\w+)"', journal) == ["uvicorn", "hypercorn", "uvicorn"]


def test_command_may_take_its_port_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import os, uvicorn\nuvicorn.run('tests.apps.tasks:app', port=int(os.environ['PORT']))\n", encoding="utf-8"
    )
    code, errors, _ = demo(tmp_path, ["python", "main.py"], script='env = { PORT = "${port}" }\n' + REQUEST)
    assert (code, errors) == (0, "")


def test_request_of_a_replaced_process_is_over_at_once(tmp_path: Path) -> None:
    server = ["gunicorn", "-k", "asgi", "--preload", "--timeout", "2", "-b", "127.0.0.1:${port}", "held:app"]
    (tmp_path / "held.py").write_text(
        "import time\nfrom fastapi import BackgroundTasks, FastAPI\napp = FastAPI()\n"
        "async def hold(): time.sleep(3600)\n"
        "@app.post('/')\nasync def post(tasks: BackgroundTasks): tasks.add_task(hold)\n",
        encoding="utf-8",
    )
    request = '[[request]]\nname = "hold"\nmethod = "POST"\npath = "/"\ntimeout = 3600\nexpect.verdict = "lost"\n'
    code, errors, document = demo(tmp_path, server, "--timeout", "3600", script=request)
    assert (code, errors) == (0, "")
    assert re.search(
        r"hold started, never finished .*process \d+ of the server is gone", document["requests"][0]["reason"]
    )


def test_server_that_is_not_recorded_is_named(tmp_path: Path) -> None:
    command = ["python", "-I", "-m", "uvicorn", "--app-dir", str(ROOT), *UVICORN[1:]]
    code, _, document = demo(tmp_path, command)
    assert code == 1
    assert "the server of this command is not recorded" in document["remarks"][0]
    assert document["requests"][0]["verdict"] == "unproven"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-server", "${port}"], "the command no-such-server does not exist"),
        (["sh", "-c", "echo said >&2; exit 7 # ${port}"], "the server ended with exit code 7"),
        (["sh", "-c", "sleep 1000 & exit 0 # ${port}"], "the server ended with exit code 0"),  # it is a daemon
        (["./shop.toml", "${port}"], "the command cannot be started: Permission denied"),
    ],
)
def test_command_that_does_not_serve_is_told(command: list[str], said: str, tmp_path: Path) -> None:
    code, errors, _ = demo(tmp_path, command)
    assert code == 2
    assert errors.startswith(f"fastbg: {said}\n  where: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('command = ["uvicorn"]\n', "1: command: has no ${port}, and env neither"),
        ('app = "a:b"\nenv = { PORT = "${port}" }\n', "2: env.PORT: ${port} is not known here"),
        ('command = "uvicorn ${port}"\n', '1: command: found "uvicorn ${port}", expected an array'),
        ("command = []\n", "1: command: found an empty array, expected at least one item"),
        ('command = ["a", "${prot}"]\n', "1: command[2]: ${prot} is not known here; did you mean port?"),
        ('command = ["a", "${port}"]\nserver = { http = "h11" }\n', "2: server: has options of fastbg's own server"),
        ('url = "http://x"\ncommand = ["a", "${port}"]\n', "2: command: url is the address of a running server"),
        (
            'command = ["a", "${port}"]\nfollow = ["${port}"]\n',
            "2: follow[1]: ${port} is not known here (known: dir, env.NAME)",
        ),
    ],
)
def test_faults_of_a_command_are_named(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as error:
        read_script(f"{text}{REQUEST}", "shop.toml", tmp_path, {})
    assert [each for each in error.value.details if fault in each], error.value.details


def test_program_beside_python_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("uvicorn", "shop-server"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("uvicorn", None) == str(Path(sys.executable).parent / "uvicorn")
    assert find_program("shop-server", None) == str(tmp_path / "shop-server")
    assert find_program(f".{os.sep}serve", tmp_path) == str(tmp_path / "serve")
    with pytest.raises(ServerError, match="no-such-server"):
        find_program("no-such-server", None)
