"""The table `server` of a script: options of uvicorn, and where the app is imported from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificate
from tests.support.processes import fastbg
from tests.support.servers import ROOT

APP = (ROOT / "tests" / "apps" / "optioned.py").read_text("utf-8")
SHOP = """
import os
from pathlib import Path
from shop.settings import NAME
from fastapi import FastAPI

app = FastAPI()

@app.get("/settings")
def settings():
    return {"name": NAME, "folder": Path.cwd().name}
"""
SETTINGS = 'from pathlib import Path\n\nNAME = Path(".env").read_text().strip()\n'  # relative, as of pydantic-settings


def demo(script: Path, *arguments: str, cwd: Path | None = None, code: int = 0, **variables: str) -> dict[str, Any]:
    result = fastbg("demo", script, "--json", *arguments, cwd=cwd or script.parent, timeout=90, **variables)
    assert (result.returncode, result.stderr) == (code, b""), result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_parts_are_served_with_their_options(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "own.py").write_text(APP)
    (tmp_path / "own.env").write_text("FROM_THE_FILE=yes\n")
    (tmp_path / "own.toml").write_text("""
app = "own:create"
follow = ["log.txt"]
server = { root_path = "/api", factory = true, env_file = "${env.FILE}", headers = ["X-Own: added"], backlog = 9 }
[[part]]
name = "options"
[[part.request]]
path = "/served"
save = { own = "headers.x-own" }
expect.body = { root_path = "/api", variable = "yes", scheme = "http", client = "127.0.0.1" }
[[part]]
name = "unix"
server = { uds = "own.sock" }
app = "own:app"
[[part.request]]
path = "/served?text=${own}-${mark}"
expect.body = { root_path = "", scheme = "http" }
expect.writes = [{ file = "log.txt", text = "added-${mark}" }]
[[part]]
name = "https"
server = { ssl_certfile = "cert.pem", ssl_keyfile = "key.pem", http = "h11" }
app = "own:app"
[[part.request]]
path = "/served"
expect.body = { scheme = "https" }
""")
    found = demo(tmp_path / "own.toml", cwd=tmp_path.parent, FILE="own.env")
    pids = {request["body"]["pid"] for request in found["requests"]}
    assert (found["ok"], len(pids)) == (True, 3)
    assert not (tmp_path / "own.sock").exists()


@pytest.mark.parametrize("package", [True, False], ids=["package", "namespace"])
def test_app_in_src_reads_the_env_file_of_its_project(package: bool, tmp_path: Path) -> None:
    shop = tmp_path / "project" / "src" / "shop"
    shop.mkdir(parents=True)
    (tmp_path / "project" / "shop").mkdir()  # a folder of other files does not hide the module
    (shop / "main.py").write_text(SHOP)
    (shop / "settings.py").write_text(SETTINGS)
    if package:
        (shop / "__init__.py").touch()
    (tmp_path / "project" / ".env").write_text("from the project\n")
    (tmp_path / "project" / "checks").mkdir()
    script = tmp_path / "project" / "checks" / "shop.toml"
    request = '[[request]]\npath = "/settings"\nexpect.body = { name = "from the project", folder = "project" }\n'
    head = 'app = "shop.main:app"\nfolder = ".."\n'
    script.write_text(head + request + 'expect.verdict = "no-work"\n')
    demo(script, cwd=tmp_path)
    by_option = script.with_name("by_option.toml")
    by_option.write_text(head + 'server.app_dir = "src"\n' + request + 'expect.verdict = "no-work"\n')
    demo(by_option, cwd=tmp_path)


@pytest.mark.parametrize("where", ["server", "part[1].server"])
def test_wrong_option_is_a_fault_of_the_script(where: str, tmp_path: Path) -> None:
    lines = [
        ('rootpath = "/"', "rootpath: unknown option of uvicorn; did you mean root_path?"),
        (
            "workers = 2",
            "workers: fastbg decides this itself: it runs one process with an ASGI app, at an address of its",
        ),
        (
            'limit_concurrency = "x"',
            "limit_concurrency: uvicorn: Invalid value for '--limit-concurrency': 'x' is not a",
        ),
        ("server_header = 3", "server_header: expected true or false, found 3"),
        ('log_level = "loud"', 'log_level: found "loud", expected one of critical, error, warning, info, debug, trace'),
        ('env_file = ".env"', f"env_file: the file {tmp_path}/folder/.env does not exist"),
        ('ssl_ca_certs = "ca.pem"', f"ssl_ca_certs: the file {tmp_path}/folder/ca.pem does not exist"),
        ('ssl_keyfile = "../own.toml"', "ssl_keyfile: a key needs its certificate: add ssl_certfile"),
        ('limit_max_requests = "${env.LIMIT}"', None),
        ("backlog = 10", None),
    ]
    (tmp_path / "folder").mkdir()
    script = tmp_path / "own.toml"
    table = "\n".join(line for line, _ in lines)
    part = '[[part]]\nname = "a"\n' if where.startswith("part") else ""
    prefix = "part." if part else ""
    head = f'app = "own:app"\nfolder = "folder"\n{part}[{prefix}server]\n'
    script.write_text(f'{head}{table}\n[[{prefix}request]]\npath = "/"\n')
    result = fastbg("demo", script, LIMIT="3", cwd=tmp_path)
    said = result.stderr.decode().splitlines()[2:-1]
    first = head.count("\n") + 1
    wanted = [f"    {script}:{first + n}: {where}.{what}" for n, (_, what) in enumerate(lines) if what]
    assert result.returncode == 2
    assert [line[: len(start)] for line, start in zip(said, wanted, strict=True)] == wanted


def test_https_over_a_unix_socket_is_a_fault(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    script = tmp_path / "own.toml"
    script.write_text('app = "own:app"\nserver = { uds = "x", ssl_certfile = "cert.pem" }\n[[request]]\npath = "/"\n')
    assert b"server.uds: fastbg sends no HTTPS to a Unix socket" in fastbg("demo", script).stderr


def test_option_that_uvicorn_refuses_at_its_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(APP)
    script = tmp_path / "own.toml"
    script.write_text('app = "own:app"\nserver = { ws = "no_such_module:X" }\n[[request]]\npath = "/"\n')
    said = fastbg("demo", script, cwd=tmp_path).stderr.decode()
    assert said.startswith("fastbg: uvicorn cannot start with these options: ")
    assert "\n  where: --ws\n" in said


def test_url_of_a_script_may_be_a_unix_socket(tmp_path: Path) -> None:
    script = tmp_path / "own.toml"
    script.write_text(f'url = "unix:{tmp_path}/none.sock"\n[[request]]\npath = "/"\n')
    result = fastbg("demo", script, cwd=tmp_path)
    assert b"the server does not respond: ConnectError: No such file or directory" in result.stderr
