"""Keys from lines, and from the end of the input."""

import asyncio
import os
import sys

import pytest

from fastbg.report.keyboard import END, ENTER, Keyboard
from tests.support.processes import PATIENCE_S


def keys(typed: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys up to the first `END`, for ``typed`` in a pipe."""
    theirs, ours = os.pipe()
    os.write(ours, typed)
    os.close(ours)

    async def read(keyboard: Keyboard) -> list[str]:
        found = [await keyboard.key()]
        while found[-1] != END:
            found.append(await keyboard.key())
        return found

    with open(theirs, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Keyboard() as keyboard:
            return asyncio.run(asyncio.wait_for(read(keyboard), PATIENCE_S))


def test_key_of_a_line_is_its_first_character(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(b"\nr\n S ource\r\n\r\nq", monkeypatch) == [ENTER, "r", "s", ENTER, "q", END]


def test_line_that_is_not_ascii_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(keys("好\n".encode(), monkeypatch)) & {ENTER, "r", "s", "q"} == set()


def test_missing_standard_input_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with Keyboard() as keyboard:
        assert asyncio.run(asyncio.wait_for(keyboard.key(), PATIENCE_S)) == END
