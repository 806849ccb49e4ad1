"""Standard output whose reader may close it, and errors on standard error."""

import errno
import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastbg.errors import FastbgError
from fastbg.text import escape_control

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


MAX_SIZE = 10_000  # columns or lines


def open_streams() -> None:
    """Open the standard streams that were closed when this process started, so that no other file gets their numbers.

    What is written to them is discarded.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


def ignore_impossible_size() -> None:
    """Ignore a terminal size in the environment that cannot be one.

    Rich would print nothing with 0 columns, and fill the memory with too many.
    """
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "1")
        if not size.isdecimal() or len(size) > len(str(MAX_SIZE)) or not 1 <= int(size) <= MAX_SIZE:
            del os.environ[name]


class _DiscardingOutput(io.FileIO):
    """An output file that discards writes after the pipe's reader or the terminal was closed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_terminal = self.isatty()

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes
        except OSError as error:
            if error.errno == errno.EIO and self._is_terminal:
                return memoryview(data).nbytes
            raise


def ignore_broken_pipe(*loggers: str) -> None:
    """Discard standard output after its reader has closed it, so that the command continues without it.

    ``loggers``: names of the loggers that already write to standard output.
    """
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        output.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_DiscardingOutput(output.fileno())),
            encoding=output.encoding,
            errors=output.errors,
            line_buffering=output.line_buffering,
        )
    if not loggers:
        return
    import logging

    for handler in (handler for name in loggers for handler in logging.getLogger(name).handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream is output:
            handler.setStream(sys.stdout)


def drop_output() -> None:
    """Discard the buffered standard output, so that the exit neither waits nor fails."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def report_error(error: FastbgError) -> None:
    """Write ``error`` to standard error."""
    _write_lines(error.lines())


def notify(message: str) -> None:
    """Write ``message`` to standard error, with control characters escaped."""
    _write_lines([escape_control(message)])


def _write_lines(lines: Iterable[str]) -> None:
    """Write ``lines`` to standard error, unless that was closed when this process started."""
    if sys.stderr:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
