"""Errors: their lines, and how they reach standard error."""

import sys

import pytest

from fastbg.errors import FastbgError
from fastbg.output import report_error

ERROR = FastbgError("no\nroom", where="disk \x1b[31m", remedy="free some", details=["a:1: one", "a:2: two"])


def test_error_says_what_where_details_and_remedy() -> None:
    assert ERROR.lines() == [
        r"fastbg: no\nroom",
        r"  where: disk \x1b[31m",
        "    a:1: one",
        "    a:2: two",
        "  fix: free some",
    ]


def test_error_is_reported_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(ERROR)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", ERROR.lines())


def test_closed_standard_error_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    report_error(ERROR)
