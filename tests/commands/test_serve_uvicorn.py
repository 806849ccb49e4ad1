"""`fastbg serve` with options of uvicorn, and `fastbg demo --url` against such a server."""

import json
import os
import shlex
import signal
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import make_certificate
from tests.support.processes import FASTBG, PATIENCE_S, Process, environment, fastbg, wait_for
from tests.support.servers import NO_TLS, ROOT

MODES = pytest.mark.parametrize("mode", [[], ["--workers", "2"], ["--reload"]], ids=["single", "workers", "reload"])
SCRIPT = """
{target}
folder = "${{dir}}/.."
follow = ["log.txt"]
[[request]]
path = "/served?text=${{mark}}"
expect.body = {body}
expect.writes = [{{ file = "log.txt", text = "${{mark}}" }}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text((ROOT / "tests" / "apps" / "optioned.py").read_text())
    (tmp_path / "own.env").write_text("FROM_THE_FILE=yes\n")
    make_certificate(tmp_path)
    return tmp_path


@contextmanager
def serving(folder: Path, *arguments: str, app: str = "own") -> Iterator[tuple[Process, list[str]]]:
    """Run ``fastbg serve``. Yield the process and the lines of its greeting."""
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*FASTBG, "serve", app, "--port", "0", *arguments],
            cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        said = wait_for(log, b"(?m)^  curl .*\n").decode()
        yield process, said.splitlines()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # also its workers
        process.wait()


def curl_of(greeting: Sequence[str]) -> list[str]:
    return shlex.split(next(line for line in greeting if line.startswith("  curl ")))


def base_of(url: str) -> str:
    return url.partition("/served")[0]


def served(url: str, transport: httpx.HTTPTransport | None = None) -> httpx.Response:
    with httpx.Client(transport=transport or httpx.HTTPTransport(verify=NO_TLS), timeout=PATIENCE_S) as client:
        return client.get(url)


@MODES
def test_options_and_words_reach_every_server_process(folder: Path, mode: list[str]) -> None:
    own = ["--factory", "--env-file", "own.env", "--root-path", "/api", "--log-level", "warning", "--no-proxy-headers"]
    with serving(folder, *mode, *own, "--", "--header", "X-Own: added", "--http", "h11", app="own:create") as (
        _,
        greeting,
    ):
        url = curl_of(greeting)[-1]
        response = served(url)
    assert response.headers["x-own"] == "added"
    found = response.json()
    assert (found["root_path"], found["variable"]) == ("/api", "yes")
    assert b"INFO" not in (folder / "output").read_bytes()


@MODES
def test_unix_socket_is_served_and_deleted_at_the_end(folder: Path, mode: list[str]) -> None:
    place = folder / "own.sock"
    with serving(folder, *mode, "--uds", "own.sock") as (process, greeting):
        assert greeting[0] == f"fastbg serves own:app at unix:{place} (press Ctrl-C to stop)"
        assert curl_of(greeting) == ["curl", "--unix-socket", str(place), "http://localhost/served?text=0a1b2c-1"]
        assert not any("docs" in line for line in greeting)
        assert served("http://localhost/served", httpx.HTTPTransport(uds=str(place))).json()["client"] is None
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert not place.exists()


@MODES
def test_https_is_served_and_said(folder: Path, mode: list[str]) -> None:
    tls = "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem"
    with serving(folder, *mode, *tls) as (_, greeting):
        *options, url = curl_of(greeting)
        assert options == ["curl", "--insecure"]
        assert greeting[0] == f"fastbg serves own:app at {base_of(url)} (press Ctrl-C to stop)"
        trusted = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=str(folder / "ca.pem")))
        assert served(url, trusted).json()["scheme"] == "https"


def demo(folder: Path, url: str, body: str, *, authority: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    (folder / "own.toml").write_text(SCRIPT.format(target=f'url = "{url}"', body=body))
    return fastbg("demo", "own.toml", "--json", cwd=folder, SSL_CERT_FILE=str(authority or ""))


def test_demo_reaches_a_unix_socket_and_its_journal(folder: Path) -> None:
    with serving(folder, "--uds", "own.sock"):
        result = demo(folder, f"unix:{folder}/own.sock", '{ scheme = "http" }')
        by_option = fastbg("demo", "own.toml", "--quiet", "--url", "unix:own.sock", cwd=folder)
        example = fastbg("demo", "--url", "unix:own.sock", cwd=folder)
    assert result.returncode == by_option.returncode == 0, result
    (request,) = json.loads(result.stdout)["requests"]
    assert [task["state"] for task in request["tasks"]] == ["finished"]
    assert b"does not serve the example app" in example.stderr
    gone = fastbg("demo", "own.toml", "--url", "unix:own.sock", cwd=folder)
    assert b"the server does not respond: ConnectError" in gone.stderr
    assert fastbg("demo", "own.toml", "--url", "unix:", cwd=folder).stderr.startswith(b"fastbg: not a valid URL")


def test_demo_trusts_an_own_authority_that_is_named(folder: Path) -> None:
    with serving(folder, "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem") as (_, greeting):
        url = base_of(curl_of(greeting)[-1])
        trusted = demo(folder, url, '{ scheme = "https" }', authority=folder / "ca.pem")
        refused = demo(folder, url, '{ scheme = "https" }')
    assert trusted.returncode == 0, trusted
    assert b"CERTIFICATE_VERIFY_FAILED" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["--http", "h11"], "--http is an option of uvicorn", "write it at the end, after --: -- --http"),
        (["--", "--workers", "2"], "--workers is an option of fastbg", "write it before the --"),
        (["--", "shop:app"], "the app is not an option of uvicorn", "write it before the --"),
        (["--", "--bogus"], "uvicorn: No such option", "`uvicorn --help` describes its options"),
        (["--log-level", "loud"], "uvicorn: Invalid value for '--log-level'", "`uvicorn --help`"),
        (["--uds", "own.py"], "cannot listen on the Unix socket: the file already exists", "stop the server"),
        (["--ssl-certfile", "key.pem"], "HTTPS cannot be set up: ", "name the PEM files"),
        (["--factory"], "app() of own could not be loaded: TypeError", ""),
    ],
)
def test_wrong_option_is_an_error_in_three_parts(folder: Path, arguments: list[str], what: str, fix: str) -> None:
    result = fastbg("serve", "own:app", "--port", "0", *arguments, cwd=folder)
    lines = result.stderr.decode().splitlines()
    assert (result.returncode, len(lines), result.stdout) == (2, 3, b""), lines
    assert lines[0].startswith(f"fastbg: {what}")
    assert lines[2].startswith(f"  fix: {fix}")


def test_words_of_uvicorn_need_no_app(folder: Path) -> None:
    result = fastbg("serve", "--", "--limit-concurrency", "x", cwd=folder)
    assert b"'x' is not a valid integer" in result.stderr
    assert fastbg("serve", "--", "--version", cwd=folder).stdout.startswith(b"Running uvicorn ")


def test_environment_file_without_python_dotenv_is_told(folder: Path) -> None:
    (folder / "dotenv.py").write_text("raise ModuleNotFoundError(name='dotenv')")
    result = fastbg("serve", "own", "--port", "0", "--env-file", "own.env", cwd=folder, PYTHONPATH=str(folder))
    assert result.returncode == 2
    assert result.stderr.startswith(
        b"fastbg: an environment file needs python-dotenv\n  where: own.env\n  fix: install"
    )


def test_function_that_returns_no_app_is_told(folder: Path) -> None:
    (folder / "own.py").write_text("def create(): ...\n")
    for arguments in (["own:create"], ["own:create", "--factory"]):
        result = fastbg("serve", *arguments, "--port", "0", cwd=folder)
        assert result.stderr.startswith(b"fastbg: create() of own does not return an ASGI app, but a NoneType\n")


def test_factory_without_a_name_is_create_app(folder: Path) -> None:
    (folder / "own.py").write_text((folder / "own.py").read_text().replace("create", "create_app"))
    with serving(folder, "--factory") as (_, greeting):
        assert greeting[0].startswith("fastbg serves own:create_app at ")
        assert served(curl_of(greeting)[-1]).status_code == 200
