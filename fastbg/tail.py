"""``fastbg tail``: the last lines of files and then what comes, with the time each was observed.

How a line looks is described in `fastbg.report.text_lines` and `json_lines`. What is special to the stream:

* With a journal the stream is in the order of time: of the server's events by the time that the server gives,
  of a file's bytes by the time that we saw them. To sort them each is held back until it is `HOLD_NS` old.
  Events of another boot have their place by the time that they were read, and are marked.
* The last lines at the start come file by file, in the order of the command line.
* SIGINT and SIGTERM end it between two lines (exit code 130, 143). So does a pipe whose reader has gone, at
  once and not only at the next line (exit code 0).
"""

import heapq
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Self, assert_never

from fastbg.cli import drop_output, report_error
from fastbg.errors import FollowError
from fastbg.events import Appended, Event, Notice
from fastbg.follow.files import open_file
from fastbg.follow.journal import last_lines_of_journal
from fastbg.follow.lines import LineDecoder, last_lines
from fastbg.journal_lines import JournalLines, read_journal_line
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.lines import Printer
from fastbg.report.moments import of_this_boot
from fastbg.report.text_lines import TextPrinter, labels

HOLD_NS = 30_000_000
MOST_HELD = 256  # pieces of at most 64 KiB; beyond that the oldest is shown without waiting
GRACE_S = 0.5  # for a line that is being written when a signal comes


def tail(
    paths: Sequence[Path],
    *,
    journals: Sequence[Path] = (),
    lines: int = 10,
    follow: bool = True,
    as_json: bool = False,
    data_folder: Path | None = None,
) -> int:
    """Show the last ``lines`` lines of ``paths`` and ``journals`` on standard output, then what comes.

    ``data_folder``: set where ``paths`` are its files and nobody named them, for the message when there are none.
    Returns the exit code: 0, or 1 where one of several files could not be shown, 2 where none could, 128 + the
    signal's number. Raises `FollowError` where the only file cannot be shown, `OSError` where nothing can be written.
    """
    sources = list(dict.fromkeys([*paths, *journals]))
    names = {**labels(paths), **dict.fromkeys(journals, "server")}
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    printer: Printer = JsonPrinter(sys.stdout) if as_json else TextPrinter(names, sys.stdout)
    stream = Stream(printer, journals)
    with Interrupts() as interrupts:
        try:
            if follow:
                import asyncio

                code = asyncio.run(_follow(sources, journals, lines, stream, interrupts))
            else:
                code = _show_last_lines(sources, journals, lines, stream, interrupts, data_folder)
            stream.close()
            if interrupts.code and sys.stdout.isatty():
                print()  # noqa: T201  (the terminal has shown ^C: the prompt wants a line of its own)
        except BrokenPipeError:
            drop_output()
            code = 0
        except NobodyReadsError:
            drop_output()
        return interrupts.code or code


class NobodyReadsError(Exception):
    """A signal asked for the end, and half a second later nobody reads the line that is being written."""


class Interrupts:
    """Makes SIGINT and SIGTERM end the stream between two lines.

    ``code``: the exit code once a signal has come, else 0. ``wake``: called then, in the main thread.
    """

    def __init__(self) -> None:
        self.code = 0
        self.wake: Callable[[], object] = lambda: None
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGINT, self._ask),
            (signal.SIGTERM, self._ask),
            (signal.SIGALRM, self._insist),
        ):
            self._restore.callback(signal.signal, number, signal.signal(number, handler))
        self._restore.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.code = 128 + number
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        self.wake()

    def _insist(self, _number: int, _frame: FrameType | None) -> None:
        if not select.select([], [sys.stdout], [], 0)[1]:
            raise NobodyReadsError
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # the output takes more: only the machine is slow


@dataclass(frozen=True, slots=True)
class Foreign:
    """A line of the journal that is no event."""

    path: Path
    text: str
    seen_ns: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event, and the journal that it stands in."""

    path: Path
    event: Event


Shown = Appended | Notice | Foreign | Entry


class Journal:
    """Reads the lines of the journal at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = JournalLines()
        self._old_end = 0

    def old(self, offset: int, data: bytes) -> list[Entry | Foreign]:
        """Return what the lines say that ``data`` completes, which was there before anybody looked."""
        self._old_end = offset + len(data)
        return self._read(self._lines.feed(data), None)

    def new(self, item: Appended) -> list[Entry | Foreign]:
        """Return what the lines say that ``item`` completes."""
        if item.offset == self._old_end:
            self._lines.resume(item.file)
        return self._read(self._lines.feed(item.data, item.file), item.t_ns)

    def finish(self, seen_ns: int | None) -> list[Entry | Foreign]:
        """Return what the lines say that nothing more will come to."""
        return self._read(self._lines.finish(), seen_ns)

    def _read(self, lines: Sequence[bytes], seen_ns: int | None) -> list[Entry | Foreign]:
        return [
            Foreign(self._path, _text(line), seen_ns) if event is None else Entry(self._path, event)
            for line in lines
            for event in (read_journal_line(line),)
        ]


def _text(line: bytes) -> str:
    return LineDecoder().feed(line + b"\n")[0].text


class Stream:
    """Brings what the files and the journals hold to the printer, in the order of time."""

    def __init__(self, printer: Printer, journals: Sequence[Path]) -> None:
        self._printer = printer
        self._journals = {path: Journal(path) for path in journals}
        self._decoders: dict[Path, LineDecoder] = {}
        self._held: list[tuple[int, int, Shown]] = []
        self._count = 0

    def old(self, path: Path, offset: int, data: bytes) -> None:
        """Show what the file held before anybody looked."""
        if path in self._journals:
            for entry in self._journals[path].old(offset, data):
                self._show(entry)
        else:
            self._show_pieces(path, offset, data, None)

    def old_end(self, path: Path) -> None:
        """Say that nothing more comes to the file."""
        if path in self._journals:
            for entry in self._journals[path].finish(None):
                self._show(entry)
        elif (decoder := self._decoders.get(path)) and (piece := decoder.finish()):
            self._printer.piece(path, piece, None)

    def new(self, item: Appended | Notice) -> None:
        """Take what the follower saw; `show_due` shows it when its time has come."""
        journal = self._journals.get(item.path)
        if journal is not None and isinstance(item, Appended):
            for entry in journal.new(item):
                t_ns = item.t_ns
                if isinstance(entry, Entry) and of_this_boot(entry.event):
                    t_ns = min(t_ns, entry.event.t_ns)
                self._hold(t_ns, entry)
            return
        if journal is not None and isinstance(item, Notice) and item.kind in ("truncated", "replaced"):
            for entry in journal.finish(item.t_ns):
                self._hold(item.t_ns, entry)
        self._hold(item.t_ns, item)

    def show_due(self) -> float | None:
        """Show what is old enough. Returns the seconds until the next is, or None when nothing is held."""
        while self._held:
            wait_ns = self._held[0][0] + HOLD_NS - time.monotonic_ns() if self._journals else 0
            if wait_ns > 0 and len(self._held) <= MOST_HELD:
                self._printer.flush()
                return wait_ns / 1e9
            self._show(heapq.heappop(self._held)[2])
        self._printer.flush()
        return None

    def flush(self) -> None:
        """Let the reader have everything that was shown."""
        self._printer.flush()

    def close(self) -> None:
        """Show what is still held, and complete the last lines."""
        for journal in self._journals.values():
            for entry in journal.finish(None):
                self._hold(time.monotonic_ns(), entry)
        while self._held:
            self._show(heapq.heappop(self._held)[2])
        self._printer.close()

    def _hold(self, t_ns: int, item: Shown) -> None:
        self._count += 1
        heapq.heappush(self._held, (t_ns, self._count, item))

    def _show(self, item: Shown) -> None:
        match item:
            case Appended():
                self._show_pieces(item.path, item.offset, item.data, item.t_ns)
            case Notice():
                decoder = self._decoders.get(item.path)
                if decoder and item.kind in ("truncated", "replaced") and (piece := decoder.finish()):
                    self._printer.piece(item.path, piece, item.t_ns)
                self._printer.notice(item)
            case Foreign():
                self._printer.foreign(item.path, item.text, item.seen_ns)
            case Entry():
                self._printer.event(item.path, item.event)
            case _:
                assert_never(item)

    def _show_pieces(self, path: Path, offset: int, data: bytes, seen_ns: int | None) -> None:
        for piece in self._decoders.setdefault(path, LineDecoder()).feed(data, offset):
            self._printer.piece(path, piece, seen_ns)


def _show_last_lines(
    sources: Sequence[Path],
    journals: Sequence[Path],
    lines: int,
    stream: Stream,
    interrupts: Interrupts,
    data_folder: Path | None,
) -> int:
    errors, missing = [], 0
    for path in sources:
        try:
            descriptor = open_file(path)
        except FollowError as error:
            errors.append(error)
            continue
        except FileNotFoundError:
            missing += 1
            errors.append(
                FollowError(
                    "there is no such file",
                    where=str(path),
                    remedy="check the name; without --no-follow it is waited for",
                )
            )
            continue
        try:
            end = os.fstat(descriptor).st_size
            if path in journals:
                known = last_lines_of_journal(path, descriptor, end, lines)
            else:
                known = last_lines(descriptor, lines, end)
            for offset, data in known:
                stream.old(path, offset, data)
                if interrupts.code:
                    return interrupts.code
            stream.old_end(path)
        finally:
            os.close(descriptor)
    stream.flush()
    if data_folder is not None and missing == len(sources):
        raise FollowError(
            "nothing was written yet",
            where=str(data_folder),
            remedy="run `fastbg demo`, or start `fastbg serve` and call it; or name another --dir",
        )
    return _report(errors, of=len(sources))


async def _follow(
    sources: Sequence[Path], journals: Sequence[Path], lines: int, stream: Stream, interrupts: Interrupts
) -> int:
    import asyncio

    from fastbg.follow.follower import Follower

    refused = _refused(sources)
    if (code := _report(list(refused.values()), of=len(sources))) == 2:
        return code
    loop, showing = asyncio.get_running_loop(), asyncio.current_task()
    if showing is None or interrupts.code:
        return code
    interrupts.wake = lambda: loop.call_soon_threadsafe(showing.cancel)
    output = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(output).st_mode):
        loop.add_reader(output, showing.cancel)  # the writing end wakes us when the reader has gone
    try:
        async with Follower(sources, journals=journals) as follower:
            for path in sources:
                for offset, data in follower.last_lines(path, lines):
                    stream.old(path, offset, data)
                    await asyncio.sleep(0)  # a signal may want the end
            while True:
                with suppress(TimeoutError):
                    item = await asyncio.wait_for(anext(follower), stream.show_due())
                    if isinstance(item, Notice) and item.kind == "refused" and item.path in refused:
                        del refused[item.path]  # reported above
                    else:
                        stream.new(item)
    except asyncio.CancelledError:
        return code
    finally:
        loop.remove_reader(output)


def _refused(sources: Sequence[Path]) -> dict[Path, FollowError]:
    """Those that cannot be followed as they are, and why. Missing ones can: we wait for them."""
    refused = {}
    for path in sources:
        try:
            os.close(open_file(path))
        except FollowError as error:
            refused[path] = error
        except FileNotFoundError:
            pass
    return refused


def _report(errors: Sequence[FollowError], *, of: int) -> int:
    """The exit code for ``errors`` about ``of`` files. The only one is raised, several are reported here."""
    if of == 1 and errors:
        raise errors[0]
    for error in errors:
        report_error(error)
    return 2 if len(errors) == of else min(len(errors), 1)
