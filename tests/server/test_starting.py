"""Waiting for a process to start or to end."""

import subprocess
import sys

import pytest

from fastbg.errors import ServerError
from fastbg.server import starting
from fastbg.server.starting import PAUSE_S, pauses
from tests.support.processes import PATIENCE_S

FAILURE = ServerError("it did not start up", where="here", remedy="read its log")


def test_pauses_end_when_the_process_is_ready() -> None:
    checks = iter([False, False, True])
    assert list(pauses(lambda: next(checks), FAILURE)) == [PAUSE_S] * 2


def test_pauses_fail_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "READY_S", -1.0)
    with pytest.raises(ServerError, match="it did not start up"):
        next(pauses(lambda: False, FAILURE))


def test_pauses_fail_when_the_process_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(PATIENCE_S)
        with pytest.raises(ServerError, match="it did not start up"):
            next(pauses(lambda: False, FAILURE, process))
        assert list(pauses(lambda: True, FAILURE, process)) == []
