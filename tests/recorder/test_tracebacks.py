"""Exceptions as lines of text: the user's frames, causes, and exceptions that are hard to describe."""

import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from fastbg.recorder import tracebacks
from fastbg.recorder.tracebacks import MAX_CHARACTERS, MAX_EXCEPTIONS, format_traceback

HERE = re.escape(__file__)


def lines_of(function: Callable[[], object]) -> list[str]:
    """Return the traceback of the exception that ``function`` raises, without the frame of this function."""
    try:
        function()
    except Exception as error:  # noqa: BLE001  # any that a test raises
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        text = format_traceback(error)
    assert text is not None
    return text.split("\n")


def fail(error: BaseException | None = None) -> None:
    raise error or ValueError("no")


def test_frame_has_its_place_and_its_source() -> None:
    first, place, source = lines_of(fail)
    assert first == "ValueError: no"
    assert re.fullmatch(rf"  {HERE}:\d+ in fail", place)
    assert source == '      raise error or ValueError("no")'


def test_library_frames_are_counted_up_to_the_last() -> None:
    found = lines_of(lambda: json.loads("{"))
    assert found[0].startswith("JSONDecodeError: ")
    assert re.fullmatch(rf"  {HERE}:\d+ in test_library_frames.*<lambda>", found[1])
    assert found[3] == "  … 2 frames of the standard library …"
    assert re.fullmatch(r"  json/decoder\.py:\d+ in JSONDecoder\.raw_decode", found[4])


def test_libraries_are_known_by_their_folders() -> None:
    library_of = tracebacks._library_of
    assert library_of("/x/lib/python3/site-packages/starlette/routing.py") == ("starlette", "starlette/routing.py")
    assert library_of("/usr/lib/python3/dist-packages/six.py") == ("six", "six.py")
    assert library_of(json.__file__) == ("the standard library", "json/__init__.py")
    assert library_of("<frozen os>") == ("the standard library", "<frozen os>")
    assert library_of("/home/me/shop.py") == (None, "/home/me/shop.py")


def test_apps_of_fastbg_are_not_a_library() -> None:
    package = Path(tracebacks.__file__).parents[1]
    files = ("scripts/inline.py", "example/app.py", "recorder/middleware.py")
    assert [tracebacks._library_of(f"{package}/{file}")[0] for file in files] == [None, None, "fastbg"]


def test_installed_app_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def library_of(path: str) -> tuple[str, str]:
        return ("shop" if path == __file__ else "starlette"), path

    def cause() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise KeyError from error

    monkeypatch.setattr(tracebacks, "_library_of", library_of)
    found = [line.rpartition(".")[2] for line in lines_of(cause) if __file__ in line]
    assert found == ["cause", "cause"]


def test_place_is_the_innermost_frame_of_the_users_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def here() -> list[FrameType]:
        frame = sys._getframe()
        frames = [frame]
        while frame.f_code.co_name != "<lambda>" and frame.f_back is not None:
            frame = frame.f_back
            frames.append(frame)
        return frames[::-1]

    def inside() -> list[FrameType]:
        return here()

    frames = (lambda: inside())()
    assert re.fullmatch(rf"{HERE}:\d+ in .*\.here", tracebacks.place_of(frames) or "")
    assert tracebacks.place_of([]) is None

    names = iter(["fastbg", "shop", "shop", "requests", "starlette"])
    monkeypatch.setattr(tracebacks, "_library_of", lambda path: (next(names), path))
    found = tracebacks.place_of([*frames, frames[0], frames[0]])  # an app that is installed as a library
    assert (found or "").endswith(".here")


def test_libraries_of_a_cause_are_counted() -> None:
    def cause() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            raise KeyError from error

    assert lines_of(cause)[4] == "  … 2 frames of the standard library …"


def test_causes_follow_with_their_frames() -> None:
    def cause() -> None:
        try:
            fail()
        except ValueError as error:
            raise KeyError("x") from error

    def context() -> None:
        try:
            cause()
        except KeyError:
            fail(OSError())

    headers = [line for line in lines_of(context) if line[0] != " "]
    assert headers == ["OSError", "while handling KeyError: 'x'", "caused by ValueError: no"]
    suppressed = lines_of(lambda: fail(_without_context()))
    assert [line for line in suppressed if line[0] != " "] == ["OSError"]


def _without_context() -> OSError:
    error = OSError()
    error.__context__, error.__suppress_context__ = KeyError(), True
    return error


def test_members_of_a_group_are_shown() -> None:
    inner = ExceptionGroup("inner", [KeyError("a"), KeyError("b")])
    headers = [line for line in lines_of(lambda: fail(ExceptionGroup("outer", [inner]))) if line[0] != " "]
    assert headers == [
        "ExceptionGroup: outer (1 sub-exception)",
        "with ExceptionGroup: inner (2 sub-exceptions)",
        "with KeyError: 'a'",
        "with KeyError: 'b'",
    ]


def test_number_of_exceptions_is_limited() -> None:
    found = lines_of(lambda: fail(ExceptionGroup("many", [ValueError(str(n)) for n in range(10_000)])))
    headers = [line for line in found if line[0] != " "]
    assert (len(headers), headers[-1]) == (MAX_EXCEPTIONS + 1, "… more exceptions …")


def test_causes_that_form_a_cycle_end() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    headers = [line for line in lines_of(lambda: fail(first)) if line[0] != " "]
    assert headers == ["ValueError: 1", "caused by ValueError: 2"]


def test_recursion_is_shortened() -> None:
    def recurse() -> None:
        recurse()

    found = lines_of(recurse)
    assert found[0].startswith("RecursionError: ")
    assert re.fullmatch(r"  … \d{3,} more times …", found[-1])
    assert sum(map(len, found)) < MAX_CHARACTERS


def test_innermost_frames_are_kept() -> None:
    def odd(depth: int) -> None:
        even(depth - 1) if depth else fail()

    def even(depth: int) -> None:
        odd(depth - 1) if depth else fail()

    found = lines_of(lambda: odd(200))
    assert re.fullmatch(r"  … 1\d\d outer frames …", found[1])
    assert found[-2].endswith(" in fail")
    assert sum(map(len, found)) < MAX_CHARACTERS


def test_text_is_one_line_of_limited_length() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert lines_of(lambda: fail(Odd()))[0] == "Odd"
    assert lines_of(lambda: fail(ValueError("a\nb\x1b")))[0] == r"ValueError: a\nb\x1b"
    assert len(lines_of(lambda: fail(ValueError("x" * 10**6)))[0]) == tracebacks.MAX_LINE


def test_source_line_of_any_length_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "huge.py"
    path.write_text("def f():\n    raise ValueError(" + "1 + " * 10**5 + "1)\n")
    names: dict[str, Callable[[], object]] = {}
    with contextlib.suppress(RecursionError):  # of the compiler
        exec(compile("def f():\n    raise ValueError", str(path), "exec"), names)
    found = lines_of(names["f"])
    assert found[1] == f"  {path}:2 in f"
    assert found[2].startswith("      raise ValueError(1 + ")
    assert found[2].endswith("…")
    assert len(found[2]) < 2 * tracebacks.MAX_LINE


def test_file_that_is_not_there_has_no_source() -> None:
    names: dict[str, Callable[[], object]] = {}
    exec(compile("def f():\n    raise ValueError", "/no/such/file.py", "exec"), names)
    assert lines_of(names["f"]) == ["ValueError", "  /no/such/file.py:2 in f"]


def test_description_that_fails_is_none() -> None:
    class Broken(ValueError):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise OSError

    assert format_traceback(Broken()) is None
