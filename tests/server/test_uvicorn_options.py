"""Options of uvicorn: words and tables become the arguments of its `Config`, and what it refuses is an error."""

import os
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fastbg.errors import ServerError
from fastbg.server.uvicorn_options import is_option, parse, prepare, words_of
from tests.support.certificates import make_certificate


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], {}),
        (["--http", "h11", "--limit-concurrency", "20"], {"http": "h11", "limit_concurrency": 20}),
        (["--no-server-header", "--proxy-headers"], {"server_header": False, "proxy_headers": True}),
        (["--header", "X-A: b", "--header", "C:d:e"], {"headers": [("X-A", "b"), ("C", "d:e")]}),
        (
            ["--ws-ping-interval=1.5", "--ws-per-message-deflate", "no"],
            {"ws_ping_interval": 1.5, "ws_per_message_deflate": False},
        ),
        (["--reload-include", "*.html", "--root-path", ""], {"reload_includes": ["*.html"], "root_path": ""}),
        (["--http", "h11", "--http", "httptools"], {"http": "httptools"}),
    ],
)
def test_words_become_arguments_of_the_types_of_uvicorn(words: list[str], arguments: dict[str, Any]) -> None:
    found = parse(words)
    assert {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()} == arguments
    uvicorn.Config("app:app", **{name: value for name, value in found.items() if "reload" not in name})


def test_variables_for_uvicorn_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_PORT", "tcp://10.0.0.1:80")  # Kubernetes sets it for a service with the name "uvicorn"
    monkeypatch.setenv("UVICORN_HTTP", "httptools")
    assert parse(["--loop", "asyncio"]) == {"loop": "asyncio"}


@pytest.mark.parametrize(
    ("words", "what", "where"),
    [
        (["--bogus"], "No such option", "--bogus"),
        (["--limit-concurrency", "x"], "'x' is not a valid integer", "--limit-concurrency"),
        (["--lifespan", "never"], "'never' is not one of", "--lifespan"),
        (["--env-file", "/no/such/file"], "does not exist", "--env-file"),
        (["--http"], "requires an argument", "--http"),
        (["--header", "x"], "has no value", "--header x"),
        (["shop:app"], "the app is not an option of uvicorn", "shop:app"),
        (["--interface", "wsgi"], "only ASGI 3", "-- --interface"),
        (["--host", "::"], "--host is an option of fastbg", "-- --host"),
        (["--port", "1"], "--port is an option of fastbg", "-- --port"),
        (["--reload"], "--reload is an option of fastbg", "-- --reload"),
        (["--workers", "2"], "--workers is an option of fastbg", "-- --workers"),
        (["--app-dir", "x"], "--app-dir is an option of fastbg", "-- --app-dir"),
    ],
)
def test_word_that_cannot_be_is_an_error_that_names_it(words: list[str], what: str, where: str) -> None:
    with pytest.raises(ServerError) as caught:
        parse(words)
    assert what in caught.value.what
    assert caught.value.where == where


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_are_those_of_uvicorn(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([word])
    assert caught.value.code == 0
    assert "uvicorn" in capsys.readouterr().out


def test_table_becomes_the_same_arguments() -> None:
    assert parse(list(words_of({"factory": False}))) == {}
    table: dict[str, Any] = {
        "root_path": "-x", "factory": True, "server_header": False, "access_log": True, "headers": ["a:b", "c:d"],
        "limit_max_requests": 3, "ws_per_message_deflate": False,
    }  # fmt: skip
    assert parse(list(words_of(table))) == {
        "root_path": "-x", "factory": True, "server_header": False, "access_log": True,
        "headers": [("a", "b"), ("c", "d")], "limit_max_requests": 3, "ws_per_message_deflate": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({"rootpath": "/"}, "unknown option of uvicorn; did you mean root_path?"),
        ({"workers": 2}, "fastbg decides this itself"),
        ({"port": 80}, "fastbg decides this itself"),
        ({"factory": "yes"}, "expected true or false, found 'yes'"),
    ],
)
def test_table_that_cannot_be_is_an_error(table: dict[str, Any], what: str) -> None:
    with pytest.raises(ServerError, match=r"^.*") as caught:
        list(words_of(table))
    assert what in caught.value.what
    assert caught.value.where == next(iter(table))


@pytest.mark.parametrize(("word", "known"), [("--http", True), ("--no-access-log", True), ("--dir", False)])
def test_options_of_uvicorn_are_known(word: str, known: bool) -> None:
    assert is_option(word) is known


def test_environment_file_adds_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"SET": "before"})
    (tmp_path / ".env").write_text("SET=after\nexport OTHER='a b'\n")
    assert prepare({"env_file": str(tmp_path / ".env"), "factory": True, "uds": "x", "fd": 3}) == {}
    assert dict(os.environ) == {"SET": "before", "OTHER": "a b"}


@pytest.mark.parametrize("content", [b"A=\xff\n", b"A\0=1\n", b"A='b\0'\n"])
def test_environment_file_that_cannot_be_read_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ServerError, match="the environment file cannot be read"):
        prepare({"env_file": str(tmp_path / ".env")})


def test_what_uvicorn_can_start_with_is_prepared(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    files = {"ssl_certfile": str(tmp_path / "cert.pem"), "ssl_keyfile": str(tmp_path / "key.pem")}
    options: dict[str, Any] = {**files, "http": "h11", "reload_includes": ["*.html"]}
    assert prepare(options) == options


@pytest.mark.parametrize(
    ("options", "what", "remedy"),
    [
        ({"ssl_keyfile": "key.pem"}, "the key has no certificate", "add --ssl-certfile"),
        ({"ssl_certfile": "none.pem"}, "the file of --ssl-certfile does not exist", "correct the name"),
        ({"ssl_certfile": "cert.pem"}, "HTTPS cannot be set up: ", "--ssl-keyfile"),
        ({"ssl_certfile": "cert.pem", "ssl_keyfile": "cert.pem"}, "HTTPS cannot be set up: ", "--ssl-keyfile"),
        ({"http": "no_such_module:Protocol"}, "uvicorn cannot start with these options: ", "uvicorn --help"),
        ({"log_config": "key.pem"}, "uvicorn cannot start with these options: ", "uvicorn --help"),
    ],
)
def test_what_uvicorn_cannot_start_with_is_an_error(
    options: dict[str, Any], what: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServerError) as caught:
        prepare(options)
    assert caught.value.what.startswith(what)
    assert remedy in caught.value.remedy
