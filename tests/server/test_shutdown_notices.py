"""The notices about a shutdown that waits: when they are repeated. `tests.commands.test_serve` has their text."""

import _thread
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from fastbg.recorder.journal import Journal
from fastbg.recorder.middleware import Recorder
from fastbg.recorder.unfinished import Unfinished
from fastbg.server import shutdown_notices


async def app(scope: Scope, receive: Receive, send: Send) -> None: ...


def test_notices_are_repeated_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > len(unfinished):
            raise InterruptedError

    def call(function: Callable[..., None], arguments: tuple[object]) -> None:
        function(*arguments)

    one = [Unfinished("shop.mail", "GET /", "not started", None, None)]
    unfinished = [[], one, one, [], [], one]
    pauses: list[float] = []
    recorder = Recorder(app, Journal(tmp_path / "journal.jsonl"))
    monkeypatch.setattr(recorder, "unfinished", lambda: unfinished[len(pauses) - 1])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(_thread, "start_new_thread", call)
    with pytest.raises(InterruptedError):
        shutdown_notices.begin(recorder)
    assert pauses == [0.5, 5, 10, 20, 40, 60, 60]
    assert capfd.readouterr().err.count("  shop.mail of GET /: not started\n") == 3


def test_signal_is_handled_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: Callable[..., None], arguments: tuple[object]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    shutdown_notices.begin(Recorder(app, Journal(tmp_path / "journal.jsonl")))
