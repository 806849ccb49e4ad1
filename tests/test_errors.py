"""Errors: their lines, and how they reach standard error."""

import errno
import os
import sys
from pathlib import Path

import pytest

from fastbg.errors import FastbgError, MachineError
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


@pytest.mark.parametrize("path", ["mine/x", b"mine/x", Path("mine/x")])
def test_path_that_cannot_be_looked_up_is_not_a_bug(path: str | bytes | Path) -> None:
    error = MachineError.from_os_error(PermissionError(errno.EACCES, "Permission denied", path))
    assert error is not None
    assert (error.what, error.where) == ("this path cannot be used: Permission denied", "mine/x")
    assert MachineError.from_os_error(PermissionError(errno.EACCES, "Permission denied")) is None


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS])
def test_home_that_cannot_be_written_is_not_a_bug(number: int) -> None:
    assert MachineError.from_os_error(OSError(number, os.strerror(number), "/dev/null")) is not None


def test_closed_standard_error_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    report_error(ERROR)
