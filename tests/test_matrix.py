"""The matrix of versions: which cells there are, what is known to differ, what the documentation says of both."""

import json
import platform
import re
import signal
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from fastbg.errors import FastbgError
from tests.matrix import pythons, running
from tests.matrix.__main__ import describe
from tests.matrix.cells import LOWEST, Cell, cells, select
from tests.matrix.differences import DIFFERENCES, known_differences
from tests.matrix.pythons import Python, find_pythons
from tests.matrix.running import Outcome, core, run
from tests.support.documentation import page, section
from tests.support.processes import is_alive, wait_until
from tests.support.servers import ROOT

HERE = Python(Path(sys.executable), "3.11.7", "3.11")
NEWEST = {"fastapi": "0.165.0", "starlette": "1.10.0"}
OLD = {"fastapi": "0.121.0", "starlette": "0.38.6"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize(
    ("fastapi", "starlette", "differ"),
    [
        ("0.108.0", "0.32.0", {"after-yield", "yield-dependency", "download-and-delete", "middleware"}),
        ("0.115.0", "0.38.6", {"after-yield", "yield-dependency", "download-and-delete", "middleware"}),
        ("0.115.2", "0.39.0", {"after-yield", "yield-dependency", "middleware"}),
        ("0.117.1", "1.7.0", {"after-yield", "yield-dependency"}),
        ("0.118.0", "1.7.0", {"after-yield", "yield-dependency"}),
        ("0.121.0", "1.6.0", {"middleware"}),
        ("0.121.0", "1.7.0", set()),
    ],
)
def test_what_is_known_to_differ_depends_on_the_versions(fastapi: str, starlette: str, differ: set[str]) -> None:
    assert known_differences({"fastapi": fastapi, "starlette": starlette}) == differ


def test_page_has_the_table_of_differences() -> None:
    rows = re.findall(r"^\| `.*", section(page("versions"), "Differences"), re.MULTILINE)
    assert rows == [difference.row for difference in DIFFERENCES]


def test_docs_and_constraints_have_the_lowest_versions() -> None:
    bounds = {each.name: each.specifier for each in map(Requirement, PROJECT["dependencies"])}
    lowest = dict(re.findall(r"^(\w+)==([\w.]+)", LOWEST.read_text("utf-8"), re.MULTILINE))
    documented = dict(re.findall(r"^\| (\w+) \| ([\d.]+)", page("versions"), re.MULTILINE))
    for name in ("fastapi", "httpx", "pydantic", "rich", "typer", "uvicorn"):
        (bound,) = [spec.version for spec in bounds[name] if spec.operator == ">="]
        assert Version(lowest[name]) == Version(bound), name
        assert Version({key.lower(): value for key, value in documented.items()}[name]) == Version(bound), name


def test_classifiers_name_the_pythons_of_the_page() -> None:
    classified = [text.removeprefix("Programming Language :: Python :: ") for text in PROJECT["classifiers"]]
    first, last = re.findall(r"^\| Python \| (3\.\d+) \| (3\.\d+)", page("versions"), re.MULTILINE)[0]
    minors = range(int(first.removeprefix("3.")), int(last.removeprefix("3.")) + 1)
    assert [text for text in classified if text.startswith("3.")] == [f"3.{minor}" for minor in minors]
    assert PROJECT["requires-python"] == f">={first}"


def test_every_python_gets_newest_and_lowest_versions() -> None:
    two = [HERE, Python(Path("/two"), "3.12.1", "3.12")]
    names = [str(cell) for cell in cells(two)]
    assert len(names) == len(set(names))
    assert {name for name in names if name.startswith("3.12")} == {"3.12-newest", "3.12-uvloop", "3.12-lowest"}
    assert {"3.11-newest", "3.11-uvloop", "3.11-lowest", "3.11-uvicorn-0.40.0", "3.11-fastapi-0.118.0"} <= set(names)
    assert [str(cell) for cell in select(two, ["3.12-[nl]*"])] == ["3.12-newest", "3.12-lowest"]
    with pytest.raises(FastbgError, match="no cell matches") as caught:
        select(two, ["3.12-*", "3.9-*"])
    assert caught.value.where == "3.9-*"


def test_a_named_python_is_taken_and_what_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "_candidates", list)
    (python,) = find_pythons([Path(sys.executable)])
    assert (python.path, python.version) == (Path(sys.executable), platform.python_version())
    with pytest.raises(FastbgError, match="not a Python that fastbg supports"):
        find_pythons([Path("/bin/sh")])


def test_core_names_tests_that_there_are() -> None:
    assert core()
    for test in core():
        path, _, function = test.partition("[")[0].partition("::")
        assert f"def {function}(" in (ROOT / path).read_text("utf-8") if function else (ROOT / path).is_file(), test


@pytest.mark.parametrize(
    ("versions", "differ", "errors", "ok", "words"),
    [
        (NEWEST, {}, [], True, ["3 as expected"]),
        (
            OLD,
            {"middleware": ["late"], "download-and-delete": ["no 416"]},
            [],
            True,
            ["3 as expected", "middleware differs, as known", "download-and-delete differs, as known"],
        ),
        (
            NEWEST,
            {"middleware": ["late"]},
            [],
            False,
            ["3 as expected", "middleware differs", "  late"],
        ),
        (
            OLD,
            {"middleware": ["late"]},
            [],
            False,
            ["3 as expected", "middleware differs, as known", "download-and-delete is known to differ, but does not"],
        ),
        (NEWEST, {}, ["FAILED test_x\x1b[31m"], False, ["3 as expected", r"FAILED test_x\x1b[31m"]),
    ],
)
def test_only_what_is_known_may_differ(
    versions: dict[str, str], differ: dict[str, list[str]], errors: list[str], ok: bool, words: list[str]
) -> None:
    outcome = Outcome(Cell(HERE, "newest"), versions, "317 passed", 3, differ, errors)
    assert outcome.ok is ok
    assert describe(outcome) == words


def executable(path: Path, shell: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{shell}", encoding="utf-8")
    path.chmod(0o755)


def test_outcome_is_what_pip_pytest_and_the_catalogue_said(tmp_path: Path) -> None:
    runs = [
        {"script": "instant", "ok": True, "stopped": None, "requests": []},
        {
            "script": "middleware",
            "ok": False,
            "stopped": "it was killed",
            "requests": [
                {
                    "name": "wrapped",
                    "unmet": [
                        "verdict: expected response-first, was work-first",
                        "response_within: expected at most 0.25 s, was 0.300 s",  # a busy machine
                    ],
                }
            ],
        },
    ]
    (tmp_path / "runs.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    executable(tmp_path / "bin" / "fastbg", f"cat '{tmp_path}/runs.json'; exit 1")
    executable(
        tmp_path / "bin" / "python",
        f"""case "$*" in
        '-m pytest'*) echo "FAILED tests/test_x.py::test_y - no"; echo "=== 1 failed, 2 passed in 3s ==="; exit 1;;
        -c*) echo '{json.dumps(OLD)}';;
        esac""",
    )
    (tmp_path / "complete").touch()
    outcome = run(Cell(HERE, "newest"), tmp_path / "fastbg.whl", tmp_path)
    assert (outcome.versions, outcome.core, outcome.scenarios) == (OLD, "1 failed, 2 passed in 3s", 1)
    assert outcome.errors == ["FAILED tests/test_x.py::test_y - no"]
    assert outcome.differ == {
        "middleware": ["wrapped: verdict: expected response-first, was work-first", "it was killed"]
    }
    assert outcome.plain()["known"] == ["download-and-delete", "middleware"]
    assert not outcome.ok


def test_environment_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    outcome = run(Cell(Python(Path("/bin/false"), "3.11.7", "3.11"), "newest"), tmp_path, tmp_path / "cell")
    assert outcome.errors == ["installing: exit code 1"]
    assert not outcome.ok


def test_interrupted_command_ends_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE_S", 0.1)  # its child process ignores SIGINT
    executable(
        tmp_path / "bin" / "python",
        f"""sleep 1000 & echo $! > '{tmp_path}/pid'
        head -c 1000000 /dev/zero  # more than a pipe holds, so that the parent is reading
        kill -INT $PPID; wait""",
    )
    (tmp_path / "complete").touch()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(Cell(HERE, "newest"), tmp_path / "fastbg.whl", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    pid = int((tmp_path / "pid").read_text("utf-8"))
    wait_until(lambda: not is_alive(pid))
