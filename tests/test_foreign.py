"""Scripts and tests for apps from public documentation (`tests.apps.foreign`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastbg.testing import Client
from tests.support.processes import PATIENCE_S
from tests.support.processes import fastbg as run_fastbg
from tests.support.servers import ROOT

FOREIGN = ROOT / "tests" / "apps" / "foreign"


def run(script: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run a script. Return the exit code and the document. The apps write to the current folder."""
    arguments = ("demo", FOREIGN / f"{script}.toml", "--json", "--dir", ".", "--timeout", f"{PATIENCE_S:g}")
    result = run_fastbg(*arguments, cwd=folder, PYTHONPATH=str(ROOT))
    assert result.stdout, result
    return result.returncode, json.loads(result.stdout)


# scripts


@pytest.mark.parametrize(
    ("app", "verdicts"),
    [
        ("tutorial", ["response-first", "response-first"]),
        ("mail", ["response-first", "work-first"]),
        ("signup", ["response-first", "response-first"]),
        ("mounted", ["no-work", "response-first"]),
    ],
)
def test_script_passes(app: str, verdicts: list[str], tmp_path: Path) -> None:
    code, document = run(app, tmp_path)
    assert [request["verdict"] for request in document["requests"]] == verdicts
    assert (code, document["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("app", "unmet", "reason"),
    [
        (
            "tutorial",
            ["tasks: expected write_log, were " + ", ".join(["tests.apps.foreign.tutorial.write_log"] * 2)],
            None,
        ),
        (
            "mail",
            ["verdict: expected response-first, was work-first"],
            "its write was already in the file when the response was sent",
        ),
        (
            "signup",
            ["verdict: expected response-first, was failed"],
            "send_welcome_email failed: ConnectionError: no mail server for",
        ),
        (
            "mounted",
            [
                "status: expected 200, was 404",
                "verdict: expected response-first, was no-work",
                "tasks: expected write_notification, were none",
            ],
            "no background task was queued",
        ),
    ],
)
def test_script_that_has_to_fail_says_why(app: str, unmet: list[str], reason: str | None, tmp_path: Path) -> None:
    code, document = run(f"{app}_fails", tmp_path)
    (request,) = document["requests"]
    assert (code, request["unmet"]) == (1, unmet)
    assert (reason or "") in (request["reason"] or "")


# tests


@pytest.fixture
def fastbg_app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the app from the parameter of a test. It writes to the current folder."""
    monkeypatch.chdir(tmp_path)
    return f"tests.apps.foreign.{request.param}:app"


def served(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fastbg_app", [name], indirect=True)


pytestmark = pytest.mark.fastbg(scope="function", timeout=PATIENCE_S)


@served("tutorial")
def test_dependency_queues_first(fastbg: Client) -> None:
    reply = fastbg.post("/send-notification/a@example.com", params={"q": "some"})
    assert reply.came_before("write_log")
    assert reply.ran == ["write_log", "write_log"]
    assert Path("log.txt").read_text() == "found query: some\nmessage to a@example.com\n"


@served("mail")
def test_method_in_a_router(fastbg: Client) -> None:
    reply = fastbg.post("/mail/emailbackground", json={"email": ["a@example.com"]})
    assert reply.came_before("FastMail.send_message")
    assert fastbg.post("/mail/email", json={"email": ["a@example.com"]}).tasks == []
    assert fastbg.post("/mail/emailbackground", json={"email": ["nobody"]}).failed == ["send_message"]


@served("signup")
def test_tasks_of_a_response(fastbg: Client) -> None:
    person = {"username": "a", "email": "a@example.com"}
    assert fastbg.post("/user/invite", json=person).came_before("send_welcome_email")
    assert fastbg.post("/user/signup", json=person).ran == ["send_welcome_email", "send_admin_notification"]
    reply = fastbg.post("/user/signup", json=person | {"email": "a@nowhere.invalid"})
    assert (reply.status_code, reply.failed) == (200, ["send_welcome_email"])
    assert "send_admin_notification" not in reply.ran


@served("mounted")
def test_task_of_a_mounted_app(fastbg: Client) -> None:
    assert fastbg.get("/app").tasks == []
    reply = fastbg.post("/subapi/send-notification/a@example.com")
    assert reply.came_before("write_notification")
    assert [task.where for task in reply.tasks] == ["thread"]
