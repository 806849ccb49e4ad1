"""Describes an exception in a few lines: its text, the frames of the user's code, and its causes.

Frames of libraries are only counted, except for the frame that raised the exception::

    RuntimeError: no connection
      … 14 frames of starlette, fastapi …
      /home/me/shop.py:9 in order
          connect(address)
    caused by KeyError: 'address'
      /home/me/shop.py:3 in connect
          return known[address]
"""

import linecache
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from types import FrameType, TracebackType

from fastbg.recorder.naming import describe
from fastbg.text import escape_control

MAX_CHARACTERS = 4000  # of the whole text
MAX_LINE = 300  # characters of the text of an exception, of a path, of a source line
MAX_EXCEPTIONS = 5  # the exception, its causes, and the members of a group
MAX_FRAMES = 2000  # innermost frames that are looked at: a recursion may have many more

_STANDARD = "the standard library"
_SERVING = ("starlette", "fastapi", "uvicorn", "anyio")
_FRAMEWORKS = (_STANDARD, *_SERVING)
_FASTBG = "fastbg"
_PACKAGE = f"{Path(__file__).parents[1]}/"
_APPS = (f"{_PACKAGE}scripts/", f"{_PACKAGE}example/")  # apps that fastbg brings along
_INSTALLED = ("/site-packages/", "/dist-packages/")
_STDLIB = f"{Path(linecache.__file__).parent}/"  # `sysconfig` takes milliseconds to load


def format_traceback(error: BaseException) -> str | None:
    """Return the lines of ``error``, without control characters; None if they cannot be made. Never raises."""
    try:
        return "\n".join(_lines(error))
    except BaseException:  # noqa: BLE001  # it calls methods of the user's exceptions and loaders
        return None


def outwards(innermost: FrameType | None) -> list[FrameType]:
    """Return ``innermost`` and its callers, at most `MAX_FRAMES`."""
    frames: list[FrameType] = []
    while innermost is not None and len(frames) < MAX_FRAMES:
        frames.append(innermost)
        innermost = innermost.f_back
    return frames


def place_of(frames: Iterable[FrameType], *, runs: bool = False) -> str | None:
    """Return ``file:line in function`` of the innermost of ``frames`` in the user's code, None without one.

    ``frames``: the outermost first. ``runs``: only code that runs by itself or in what it calls, not code that waits
    for a framework, as a middleware does for the endpoint.
    """
    known = [_Frame(frame, frame.f_lineno or 0, *_library_of(frame.f_code.co_filename)) for frame in frames]
    known = [frame for frame in known if frame.library != _FASTBG]
    is_app_installed = all(frame.library for frame in known)
    own = [frame for frame in known if _is_own(frame, is_app_installed)]
    if runs and own and any(frame.library in _SERVING for frame in known[known.index(own[-1]) :]):
        return None
    # An installed app may call other libraries.
    return next((frame.place for frame in reversed(own) if frame.library == own[0].library), None)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A line of a function.

    ``library``: the package that it belongs to, None for the user's code. ``file``: its path; of a library, in the
    folder of all libraries.
    """

    frame: FrameType
    line: int
    library: str | None
    file: str

    @property
    def place(self) -> str:
        return f"{shorten(self.file)}:{self.line} in {shorten(self.frame.f_code.co_qualname)}"

    @property
    def source(self) -> str:
        return shorten(linecache.getline(self.frame.f_code.co_filename, self.line, self.frame.f_globals).strip())


def _lines(error: BaseException) -> Iterator[str]:
    left, seen = MAX_CHARACTERS, set[int]()
    waiting = [("", error)]
    # An app may be installed as a library.
    is_app_installed = all(frame.library for frame in _frames(error.__traceback__))
    while waiting and len(seen) < MAX_EXCEPTIONS:
        relation, error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        entries = _entries(_frames(error.__traceback__), is_app_installed)
        lines = [relation + shorten(describe(error)), *_innermost(entries, left // 2)]
        left -= sum(map(len, lines))
        yield from lines
        waiting += reversed(list(islice(_related(error), MAX_EXCEPTIONS)))
    if any(id(error) not in seen for _, error in waiting):
        yield "… more exceptions …"


def _related(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        yield from (("with ", member) for member in error.exceptions)
    if error.__cause__ is not None:
        yield "caused by ", error.__cause__
    elif error.__context__ is not None and not error.__suppress_context__:
        yield "while handling ", error.__context__


def _frames(traceback: TracebackType | None) -> list[_Frame]:
    """Return the innermost frames, without those of the recorder."""
    frames: deque[_Frame] = deque(maxlen=MAX_FRAMES)
    while traceback is not None:
        library, file = _library_of(traceback.tb_frame.f_code.co_filename)
        if library != _FASTBG:
            frames.append(_Frame(traceback.tb_frame, traceback.tb_lineno or 0, library, file))
        traceback = traceback.tb_next
    return list(frames)


@lru_cache(1024)
def _library_of(path: str) -> tuple[str | None, str]:
    """Return the package that a file belongs to, None for the user's code, and the path to show."""
    if path.startswith(_PACKAGE):
        return None if path.startswith(_APPS) else _FASTBG, path
    for folder in _INSTALLED:
        if folder in path:
            file = path.rpartition(folder)[2]
            return file.partition("/")[0].removesuffix(".py"), file
    is_standard = path.startswith((_STDLIB, "<"))
    return (_STANDARD, path.removeprefix(_STDLIB)) if is_standard else (None, path)


def _is_own(frame: _Frame, is_app_installed: bool) -> bool:
    return frame.library is None or (is_app_installed and frame.library not in _FRAMEWORKS)


def _entries(frames: Sequence[_Frame], is_app_installed: bool) -> list[tuple[int, list[str]]]:
    """Return lines, and the number of frames that they stand for: of one place, or of libraries in sequence."""
    hidden = {number for number, frame in enumerate(frames[:-1]) if not _is_own(frame, is_app_installed)}
    entries = []
    for is_hidden, group in groupby(enumerate(frames), key=lambda item: item[0] in hidden or (item[1].place,)):
        members = [frame for _, frame in group]
        count = len(members)
        if is_hidden is True:
            names = ", ".join(dict.fromkeys(frame.library or "" for frame in members))
            lines = [f"  … {count} frame{'s' * (count > 1)} of {names} …"]
        else:
            lines = [f"  {members[0].place}", *([f"      {source}"] if (source := members[0].source) else [])]
            lines += [f"  … {count - 1} more times …"] if count > 1 else []
        entries.append((count, lines))
    return entries


def _innermost(entries: Sequence[tuple[int, list[str]]], room: int) -> list[str]:
    """Return the lines of the last entries that have ``room`` characters in total; at least one entry."""
    shown: deque[str] = deque()
    for number in range(len(entries) - 1, -1, -1):
        _, lines = entries[number]
        room -= sum(map(len, lines))
        if room < 0 and shown:
            count = sum(frames for frames, _ in entries[: number + 1])
            shown.appendleft(f"  … {count} outer frame{'s' * (count > 1)} …")
            break
        shown.extendleft(reversed(lines))
    return list(shown)


def shorten(text: str) -> str:
    """Return ``text`` on one line of at most `MAX_LINE` characters, without control characters."""
    text = escape_control(text[: MAX_LINE + 1])
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"
