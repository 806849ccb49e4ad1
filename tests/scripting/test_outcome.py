"""What a run saw, as expectations of a script: they hold in the next run."""

import re
import tomllib
from typing import Any

import pytest

from fastbg.events import Verdict
from fastbg.recorder.request_ids import uuid_of
from fastbg.scripting import placeholders
from fastbg.scripting.outcome import Outcome, last_names

MARK = "0a1b2c-1"


def expected(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads("\n".join(outcome.lines()))["expect"]
    return found


def writes(*texts: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = expected(Outcome(MARK, 200, "response-first", (), tuple(("log", t) for t in texts)))[
        "writes"
    ]
    return found


def test_status_verdict_and_tasks_are_expected() -> None:
    outcome = Outcome(MARK, 201, "response-first", ("log_visit", "send_mail"))
    assert expected(outcome) == {"status": 201, "verdict": "response-first", "tasks": ["log_visit", "send_mail"]}
    assert outcome.summary == "201, response-first, log_visit, send_mail"


@pytest.mark.parametrize(("verdict", "written"), [("unproven", "any"), ("failed", "failed"), ("no-work", "no-work")])
def test_verdict_without_a_proof_expects_any(verdict: Verdict, written: str) -> None:
    assert expected(Outcome(MARK, 200, verdict)) == {"status": 200, "verdict": written, "tasks": []}


def test_without_a_response_nothing_is_known_of_tasks() -> None:
    assert expected(Outcome(MARK, None, "unproven")) == {"verdict": "any"}
    assert expected(Outcome(MARK, None, "failed", ("send",))) == {"verdict": "failed", "tasks": ["send"]}


def test_note_is_one_comment() -> None:
    first, *rest = Outcome(MARK, 500, "failed", note="seen: \x1b[31m\nx" + "y" * 500).lines()
    assert first.startswith("# seen: ")
    assert first.isprintable()
    assert len(first) < 250
    assert not any(line.startswith("#") for line in rest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a visit\n", [{"text": "a visit\n"}]),
        (f"mail to {MARK}@x\nand ${{y}}\n", [{"text": "mail to ${mark}@x\n"}, {"text": "and $${y}\n"}]),
        (f"\n\n## {MARK}", [{"text": "\n\n## ${mark}"}]),
        ("x\nx\ny", [{"text": "x\n", "count": 2}, {"text": "y"}]),
        (f"id {uuid_of(MARK)}\n", [{"text": "id ${mark}\n"}]),
        ("\n \n", None),
    ],
)
def test_each_line_is_a_write(text: str, expected: list[dict[str, Any]] | None) -> None:
    if expected is None:
        assert "writes" not in "".join(Outcome(MARK, 200, "no-work", (), (("log", text),)).lines())
    else:
        assert writes(text) == [{"file": "log", **each} for each in expected]


@pytest.mark.parametrize(
    ("seen", "next_time"),
    [
        ("2026-01-31 12:00:01.123456 [x] (a+b) {m}\n", "2027-11-01 00:59:01.000001 [x] (a+b) {m}\n"),
        ("2026-01-31T12:00:01Z {m}", "2026-02-01T12:00:02Z {m}"),
        ("{m} at 0x7f00ab\n", "{m} at 0x7e1234567\n"),
        ("6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e\n", "00000000-52c4-4c8a-9d7e-1f2a3b4c5d6f\n"),
    ],
)
def test_what_varies_is_a_pattern(seen: str, next_time: str) -> None:
    (write,) = writes(seen.replace("{m}", MARK))
    for text, mark in ((seen, MARK), (next_time, "f0f0f0-12")):
        pattern = placeholders.fill_text(write["pattern"], {"mark": mark}, quote=re.escape)
        assert re.fullmatch(pattern, text.replace("{m}", mark))
        assert not re.fullmatch(pattern, text.replace("{m}", mark).replace(":", ";").replace("-", "="))


def test_many_writes_are_cut() -> None:
    assert len(writes("".join(f"line {number}x\n" for number in range(100)))) == 20


def test_names_of_tasks_are_short() -> None:
    assert last_names(["shop.mail.send", "shop.<lambda>", "print"]) == ("send", "shop.<lambda>", "print")
