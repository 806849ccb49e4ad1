"""What the fixtures say about the server of an app."""

import ssl
from pathlib import Path

import pytest

from fastbg.errors import ServerError
from fastbg.testing.configuration import Configuration


def test_paths_are_those_of_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {"env_file": ".env", "app_dir": Path("src"), "root_path": "api", "headers": ["X: y"], "backlog": 5}
    configuration = Configuration.of(given, {"PORT": 25, "HOME": Path("x")}, "run")
    absolute = {"env_file": str(tmp_path / ".env"), "app_dir": str(tmp_path / "src")}
    assert configuration == Configuration(given | absolute, {"PORT": "25", "HOME": "x"}, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "env", "folder", "fixture", "what"),
    [
        (None, {}, None, "fastbg_server", "None is not a dict of options of uvicorn"),
        ({1: "x"}, {}, None, "fastbg_server", r"\{1: 'x'\} is not a dict of options of uvicorn"),
        ({"uds": 1}, {}, None, "fastbg_server", "the value of uds is not a path, but 1"),
        ({"app_dir": None}, {}, None, "fastbg_server", "the value of app_dir is not a path, but None"),
        ({"root_path": None}, {}, None, "fastbg_server", "the value of root_path is not a text, number, bool or list"),
        ({"headers": [("X", "y")]}, {}, None, "fastbg_server", "the value of headers is not a text, number"),
        ({}, None, None, "fastbg_env", "None is not a dict of environment variables"),
        ({}, {1: "x"}, None, "fastbg_env", r"\{1: 'x'\} is not a dict of environment variables"),
        ({}, {"A": None}, None, "fastbg_env", "the value of A is not a text or a number, but None"),
        ({}, {"A": True}, None, "fastbg_env", "the value of A is not a text or a number, but True"),
        ({}, {"": "x"}, None, "fastbg_env", "the operating system refuses ''"),
        ({}, {"A=B": "x"}, None, "fastbg_env", "the operating system refuses 'A=B'"),
        ({}, {"A": "x\0"}, None, "fastbg_env", "the operating system refuses 'A'"),
        ({}, {}, "no/such/folder", "fastbg_cwd", "no/such/folder is not a folder"),
        ({}, {}, 3, "fastbg_cwd", "3 is not a folder"),
    ],
)
def test_wrong_value_is_refused(options: object, env: object, folder: object, fixture: str, what: str) -> None:
    with pytest.raises(ServerError, match=what) as caught:
        Configuration.of(options, env, folder)
    assert caught.value.where == f"the fixture {fixture}"


def test_number_of_a_library_is_accepted() -> None:
    options = {"ssl_cert_reqs": ssl.CERT_OPTIONAL}
    assert Configuration.of(options, {}, None).options == options
