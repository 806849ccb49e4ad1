"""Sends probe requests that change nothing in the app, to check that the server responds and records them."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from fastbg.evidence.observer import Observer
from fastbg.evidence.trace import SentRequest, Trace
from fastbg.recorder.request_ids import id_of_probe

if TYPE_CHECKING:
    from fastbg.run.client import Client
    from fastbg.run.target import TargetServer

JOURNAL_S = 1.0  # timeout for the probe to appear in the journal, after the response
RESPONSE_S = 10.0  # timeout for the response of a server whose journal is silent


class Prober:
    """A sender of probes to servers whose journal ``observer`` follows. ``run_id``: the prefix of its request ids."""

    def __init__(self, observer: Observer, run_id: str) -> None:
        self._observer = observer
        self._run_id = run_id
        self._count = 0
        self._checked_ns = 0
        self._checking = asyncio.Lock()

    async def reach(self, client: "Client", seconds: float) -> str | None:
        """Return why the server does not respond within ``seconds``, or None if it responds."""
        return (await self._probe(client, seconds, journal=False))[0]

    async def find_journal(self, client: "Client", seconds: float) -> tuple[str | None, bool]:
        """Do the same as `reach`, and return also whether the followed journal belongs to this server."""
        return await self._probe(client, seconds, journal=True)

    async def fetch(self, client: "Client", path: str) -> bytes | None:
        """Return the body of a successful response to ``GET path``, None without one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RESPONSE_S):
                return await client.fetch(path, self._new_id())
        return None

    async def check_journal(self, server: "TargetServer") -> None:
        """Check after a long silence that the journal is still written. If not, inform the observer."""
        observer = self._observer
        async with self._checking:
            if self._checked_ns == observer.last_event_ns:
                return
            self._checked_ns = observer.last_event_ns
            await observer.read_all()  # this process may have been suspended in the meantime
            if observer.gap or server.client is None or server.gone:
                return
            failure, recorded = await self._probe(server.client, RESPONSE_S, journal=True)
            if failure is None and not recorded and not server.gone:
                observer.gap = "the server no longer writes its journal: check the free disk space"
                observer.mark_gap(observer.gap)

    async def _probe(self, client: "Client", seconds: float, *, journal: bool) -> tuple[str | None, bool]:
        request_id = self._new_id()
        probe = Trace(SentRequest(request_id, "OPTIONS", url="", name=""), answered=False)
        self._observer.live[request_id] = probe
        failure: str | None
        try:
            async with asyncio.timeout(seconds):
                failure = await client.reach(request_id)
        except TimeoutError:
            failure = f"no response within {seconds:g} s"
        recorded = journal and failure is None
        if recorded:
            recorded = await self._observer.until(lambda: bool(probe.events), JOURNAL_S, trace=probe)
        del self._observer.live[request_id]
        return failure, recorded

    def _new_id(self) -> str:
        self._count += 1
        return id_of_probe(self._run_id, self._count)
