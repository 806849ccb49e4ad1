"""A line per unmet expectation, and annotations of a GitHub workflow."""

import re
from pathlib import Path
from typing import Any

import pytest

from fastbg.evidence.trace import Trace
from fastbg.report.failures import MAX_REQUESTS, annotations, failure_lines
from tests.support.processes import fastbg
from tests.support.results import background, run, runs
from tests.support.servers import ROOT
from tests.support.traces import expecting, requested

SCRIPT = """
app = "tests.apps.scripted:app"
folder = "${dir}"

[[request]]
name = "broken, as ever"
path = "/raise"
"""


def failing(**changes: Any) -> Trace:
    return requested(expecting(background(), verdict="work-first"), **changes)


def test_failure_has_its_place_part_and_reason() -> None:
    made = failing(script="shop.toml", lines={(): 3, ("expect", "verdict"): 12}, name="create order", part="trap")
    reason = "verdict: expected work-first, was response-first (client+file and server)"
    assert failure_lines(runs(made)) == [f"shop.toml:12: trap: create order: {reason}"]
    assert failure_lines(runs(failing())) == [f"notification: {reason}"]
    assert failure_lines(runs()) == []


def test_number_of_failures_is_limited() -> None:
    many = run(*(failing(name=f"n{number}") for number in range(MAX_REQUESTS + 5)))
    *lines, last = failure_lines([many])
    assert (len(lines), last) == (MAX_REQUESTS, "and 5 more")


def test_equal_failures_are_one_line() -> None:
    assert [line.partition(":")[0] for line in failure_lines([run(*(failing() for _ in range(100)))])] == [
        "notification",
        "and 99 more",
    ]


def test_annotation_is_escaped_for_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b:c%.toml").touch()
    made = failing(script="a,b:c%.toml", lines={(): 3}, name="50%, a:b\n::error::x")
    (command,) = annotations(runs(made), tmp_path.parent)
    assert command == (
        f"::error file={tmp_path.name}/a%2Cb%3Ac%25.toml,line=3,title=50%25%2C a%3Ab\\n%3A%3Aerror%3A%3Ax"
        "::verdict: expected work-first, was response-first (client+file and server)"
    )


def test_built_in_script_has_no_place_in_the_clone(tmp_path: Path) -> None:
    (command,) = annotations(runs(failing(script="default.toml", lines={(): 3})), tmp_path)
    assert command.startswith("::error title=notification::verdict: ")


def test_server_that_ended_is_an_annotation(tmp_path: Path) -> None:
    assert annotations(runs(stopped="it ended\n"), tmp_path) == [r"::error title=shop%3Aapp::it ended\n"]


# by the demo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "my.toml").write_text(SCRIPT, encoding="utf-8")
    return tmp_path / "sub"


@pytest.mark.parametrize("arguments", [(), ("--quiet",), ("--json",)])
def test_workflow_gets_annotations(arguments: tuple[str, ...], folder: Path) -> None:
    github: dict[str, Any] = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder.parent)}
    result = fastbg("demo", "my.toml", *arguments, cwd=folder, PYTHONPATH=str(ROOT), **github)
    assert result.returncode == 1
    output, other = (result.stderr, result.stdout) if arguments == ("--json",) else (result.stdout, result.stderr)
    commands = [line for line in output.decode().splitlines() if line.startswith("::")]
    assert len(commands) == 2
    start = "::error file=sub/my.toml,line=5,title=broken%2C as ever::status: expected 200, was 500 (client)%0A"
    assert commands[0].startswith(f"{start}body: Internal Server Error%0ARuntimeError: a bug%0A")
    assert re.search(r"scripted\.py:\d+ in fail%0A +raise RuntimeError\(\"a bug\"\)$", commands[0])
    assert b"::error" not in other


def test_no_annotations_elsewhere(folder: Path) -> None:
    result = fastbg("demo", "my.toml", cwd=folder, PYTHONPATH=str(ROOT))
    assert b"::" not in result.stdout
    text = result.stdout.decode()
    assert "my.toml:5: status: expected 200, was 500 (client)\n    body: Internal Server Error\n" in text
    assert "RuntimeError: a bug\n      … " in text
