"""The following part of ``fastbg tail``. It imports asyncio, which ``--no-follow`` does not need."""

import asyncio
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fastbg.commands.stop_signals import StopSignals
from fastbg.commands.tail_last_lines import Sources
from fastbg.errors import FollowError
from fastbg.events import Notice
from fastbg.follow.files import open_file
from fastbg.follow.follower import Follower
from fastbg.report.stream import Stream


def refusals(paths: Iterable[Path]) -> dict[Path, FollowError]:
    """Return the error of each path that cannot be followed. Missing files can be: `Follower` waits for them."""
    refused = {}
    for path in paths:
        try:
            os.close(open_file(path))
        except FollowError as error:
            refused[path] = error
        except FileNotFoundError:
            pass
    return refused


async def follow(sources: Sources, refused: Iterable[Path], stream: Stream, signals: StopSignals) -> None:
    """Show the last lines, then new lines, until a signal is received or the reader of a pipe exits.

    ``refused``: files that cannot be followed and have already been reported.
    """
    loop = asyncio.get_running_loop()
    showing = loop.create_task(_show(sources, set(refused), stream))
    signals.wake = lambda: loop.call_soon_threadsafe(showing.cancel)
    if signals.code:
        showing.cancel()
    output = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(output).st_mode):
        loop.add_reader(output, showing.cancel)  # becomes readable when the reader of the pipe exits
    try:
        with suppress(asyncio.CancelledError):
            await showing
    finally:
        loop.remove_reader(output)


async def _show(sources: Sources, refused: set[Path], stream: Stream) -> None:
    async with Follower(sources.paths, journals=sources.journals) as follower:
        for path in sources.paths:
            for offset, data in follower.last_lines(path, sources.lines_of(path)):
                stream.old(path, offset, data)
                await asyncio.sleep(0)  # lets a signal cancel this task
            stream.old_end(path)
        stream.is_read = follower.is_read
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(stream.show_due()):  # `asyncio.wait_for` may swallow a cancellation
                    item = await anext(follower)
                if isinstance(item, Notice) and item.kind == "refused" and item.path in refused:
                    refused.remove(item.path)
                else:
                    stream.new(item)
