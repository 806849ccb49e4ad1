"""Asks a server a question that changes nothing in any app: does it answer, and does its journal record that?"""

import asyncio
from typing import TYPE_CHECKING

from fastbg.evidence.observer import Observer
from fastbg.evidence.trace import SentRequest, Trace

if TYPE_CHECKING:
    from fastbg.run.client import Client
    from fastbg.run.target import TargetServer

JOURNAL_S = 1.0  # how long after an answer the journal may take to show the question
ANSWER_S = 10.0  # how long a server that was not heard of may take to answer


class Prober:
    """Probes servers whose journal ``observer`` follows. ``run_id``: the start of the request ids of its questions."""

    def __init__(self, observer: Observer, run_id: str) -> None:
        self._observer = observer
        self._run_id = run_id
        self._count = 0
        self._checked_ns = 0
        self._checking = asyncio.Lock()

    async def reach(self, client: "Client", seconds: float) -> str | None:
        """Return why the server does not answer within ``seconds``, None if it does."""
        return (await self._ask(client, seconds, journal=False))[0]

    async def find_journal(self, client: "Client", seconds: float) -> tuple[str | None, bool]:
        """As `reach`, and whether the journal that is followed is this server's."""
        return await self._ask(client, seconds, journal=True)

    async def check_journal(self, server: "TargetServer") -> None:
        """Nothing was heard for long: find out whether the journal is still written, and tell the observer if not."""
        observer = self._observer
        async with self._checking:
            if self._checked_ns == observer.last_event_ns:
                return
            self._checked_ns = observer.last_event_ns
            await observer.read_all()  # this process may have been stopped meanwhile
            if observer.gap or server.client is None or server.gone:
                return
            failure, recorded = await self._ask(server.client, ANSWER_S, journal=True)
            if failure is None and not recorded and not server.gone:
                observer.gap = "the server writes its journal no more: is there room for it?"
                observer.mark_gap(observer.gap)

    async def _ask(self, client: "Client", seconds: float, *, journal: bool) -> tuple[str | None, bool]:
        self._count += 1
        request_id = f"{self._run_id}-probe{self._count}"
        probe = Trace(SentRequest(request_id, "OPTIONS", url="", name=""), answered=False)
        self._observer.live[request_id] = probe
        failure: str | None
        try:
            async with asyncio.timeout(seconds):
                failure = await client.reach(request_id)
        except TimeoutError:
            failure = f"nothing came within {seconds:g} s"
        recorded = journal and failure is None and await self._observer.until(lambda: bool(probe.events), JOURNAL_S)
        del self._observer.live[request_id]
        return failure, recorded
