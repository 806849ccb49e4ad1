"""A broker and a worker for a script whose tasks go to a queue. The script can kill and restart them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

from fastbg.errors import ServerError
from fastbg.server.settings import ServerSettings
from fastbg.server.starting import READY_S, pauses
from fastbg.services.broker import Broker, check_queue_extra

READY_MESSAGE = b"Listening started"  # in Taskiq's log


class TaskQueue:
    """An embedded broker, and a worker for ``settings.app``: ``async with TaskQueue(settings) as queue``.

    ``settings``: of the worker; ``app``: "module:attribute" of Taskiq's broker. Both processes end with the block.
    Raises `FastbgError` if one of them does not start.
    """

    def __init__(self, settings: ServerSettings) -> None:
        check_queue_extra()
        settings.make_folder()
        self.broker = Broker(settings.directory)
        self.settings = settings.with_variable("FASTBG_BROKER", self.broker.address)
        self.log = self.broker.folder / "worker.log"
        self._worker: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await _sleep(self.broker.starting())
            await self._start_worker()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def signal(self, to: str, number: signal.Signals) -> None:
        """Send a signal to the "broker" or the "worker", wait until it has ended, and start it again."""
        if to == "broker":
            self.broker.send_signal(number)
            await _until_ended("the broker", lambda: self.broker.pid is None)
            await _sleep(self.broker.starting())
            return
        if (worker := self._worker) is not None:
            if number == signal.SIGKILL:  # the whole group: the manager would restart a killed worker process
                os.killpg(worker.pid, number)
            else:
                worker.send_signal(number)
            await _until_ended("the worker", lambda: worker.poll() is not None)
        await self._start_worker()

    async def _start_worker(self) -> None:
        self._end_worker()
        begin = self.log.stat().st_size if self.log.exists() else 0
        self._worker = self._spawn_worker()
        failure = ServerError("the worker did not start", where=self.settings.app, remedy=f"read its log: {self.log}")
        await _sleep(pauses(lambda: READY_MESSAGE in self.log.read_bytes()[begin:], failure, self._worker))

    def _spawn_worker(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "fastbg.services.worker"],
                cwd=self.settings.run_in,
                env=os.environ | self.settings.environment(),
                stdin=subprocess.PIPE,  # closed when this process ends, see `fastbg.server.parent`
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _end(self) -> None:
        self._end_worker()
        await _sleep(self.broker.stopping())

    def _end_worker(self) -> None:
        if self._worker is not None:
            with self._worker, suppress(ProcessLookupError):
                os.killpg(self._worker.pid, signal.SIGKILL)


async def _until_ended(who: str, has_ended: Callable[[], bool]) -> None:
    failure = ServerError(f"{who} did not end within {READY_S:g} s", where="signal", remedy="send SIGKILL")
    await _sleep(pauses(has_ended, failure))


async def _sleep(pauses_s: Generator[float, None, None]) -> None:
    with closing(pauses_s):  # after a Ctrl-C too
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
