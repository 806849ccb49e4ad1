"""What a run asks, part by part: a server, and what that needs beside it: a mail server, a broker with its worker."""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fastbg.errors import ServerError
from fastbg.launch import Child
from fastbg.observer import Observer
from fastbg.server import Server
from fastbg.settings import EXAMPLE, Settings
from fastbg.timeline import Expected, Trace

if TYPE_CHECKING:
    from fastbg.client import Client
    from fastbg.plan import Places
    from fastbg.runner import Options
    from fastbg.script import Part, Script, SignalAfter
    from fastbg.services import Services

READY_S = 30.0  # how long the server may take to answer for the first time
STOP_S = 2.0  # how long our server may take to end; what still runs by then was given up before
LAST_WORDS_S = 1.0  # how long what a dead server wrote may take to be read
JOURNAL_S = 1.0  # how long after an answer to a probe the journal may take to show it
PROBE_S = 10.0  # how long a server that was not heard of may take to answer a probe


class Backend:
    """``async with Backend(...) as backend``: nothing of it is left at the end.

    ``child``: the server of the first part, if that has started already. ``run_id``: what the ids of its own requests
    begin with. ``client``: of the server, None while there is none. ``places``, ``known``: of the files and the values
    that a request may name, once `serve` was called. ``journal``: whether the server's journal is at hand. ``stopped``:
    why a server ended that should not have, or empty; ``stderr``: what it wrote last.
    """

    def __init__(
        self, script: "Script", options: "Options", places: "Places", known: dict[str, str],
        observer: Observer, run_id: str, child: Child | None,
    ) -> None:  # fmt: skip
        self.url = options.url or script.url
        self.places = places
        self.known = known
        self.client: Client | None = None
        self.journal = self.url is None
        self.stopped = ""
        self.stderr: list[str] = []
        self._script = script
        self._options = options
        self._observer = observer
        self._run_id = run_id
        self._child = child
        self._server: Server | None = None
        self._told_to_end = ""
        self._all = AsyncExitStack()
        self._of_server = AsyncExitStack()
        self._of_queue = AsyncExitStack()
        self._services: Services | None = None
        self._services_for: Settings | None = None
        self._probes = 0
        self._doubted_ns = 0
        self._doubting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._script.mail is not None:
                await self._serve_mail(self._script.mail, stack)
            stack.push_async_callback(self._of_queue.aclose)
            stack.push_async_exit(self._leave)
            self._all = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._all.__aexit__(kind, error, traceback)

    @property
    def name(self) -> str:
        """The app that is served, or the URL that is asked."""
        return self.url or (self._child.settings.app if self._child else self._script.app or "")

    @property
    def work(self) -> float | None:
        """Seconds of the example's slow job, None where another app is served."""
        return self._child.settings.work if self._child and self._child.settings.app == EXAMPLE else None

    @property
    def gone(self) -> str:
        """Why the server serves no more, or an empty text."""
        if self.stopped or self._server is None or self._server.returncode is None:
            return self.stopped
        return self._told_to_end

    @property
    def refuses(self) -> str:
        """Why no request is to be sent any more, or an empty text."""
        return self.gone or self._told_to_end

    async def serve(self, part: "Part", group: asyncio.TaskGroup) -> None:
        """A server that ``part`` can ask: the one that runs, if it is as that part wants it, or a new one.

        Its end is noticed by a task in ``group``. Raises `ServerError`.
        """
        from fastbg.client import Client  # httpx takes its time to import: our server starts meanwhile
        from fastbg.plan import settings_of

        if self.url is not None:
            if self.client is None:
                self.client = await self._of_server.enter_async_context(Client(self.url, self._observer.look))
                await self._wait_until_ready(self.client)
            return
        wanted = settings_of(self._script, part, self.places, self.known, self._options.base)
        if part.worker is not None:
            services = await self._serve_queue(replace(wanted, app=part.worker))
            wanted = replace(wanted, env=(*wanted.env, ("FASTBG_BROKER", services.broker.address)))
        running = self._server is not None and self._server.returncode is None and not self._told_to_end
        if running and self._child is not None and self._child.settings == wanted:
            return
        await self.leave()
        if self.stopped:
            return
        if self._child is None or self._child.settings != wanted or self._child.process.poll() is not None:
            self._child = self._of_server.enter_context(Child(wanted))
        self._told_to_end = ""
        self._server = await self._of_server.enter_async_context(Server(self._child, stop_s=STOP_S))
        self.client = await self._of_server.enter_async_context(Client(self._server.url, self._observer.look))
        noticing = group.create_task(self._notice_death(self._server))
        self._of_server.callback(noticing.cancel)
        await self._wait_until_ready(self.client)

    async def leave(self) -> None:
        """Nothing of the server that we ask is left."""
        await self._leave(None, None, None)

    async def signal(self, order: "SignalAfter") -> None:
        """Send the server a signal; or a worker or the broker, which are then started again."""
        if order.after != "started":
            await asyncio.sleep(order.after)
        if order.to != "server":
            if self._services is not None:
                await self._services.signal(order.to, signal.Signals[order.name])
            return
        if self._server is None or self.gone:
            return
        self._told_to_end = f"the script sent the server {order.name}"
        self._server.send(signal.Signals[order.name])

    async def doubt_journal(self) -> None:
        """Nothing was heard for long: has nothing happened, or is the journal not written any more?"""
        observer, client = self._observer, self.client
        async with self._doubting:
            if self._doubted_ns == observer.heard_ns:
                return
            self._doubted_ns = observer.heard_ns
            await observer.until(observer.all_read, LAST_WORDS_S)  # we may have been stopped meanwhile
            if not self.journal or observer.gap or client is None or self.gone:
                return
            failure, recorded = await self._probe(client, PROBE_S, journal=True)
            if not failure and not recorded and not self.gone:
                observer.gap = "the server writes its journal no more: is there room for it?"
                observer.lacks_events(observer.gap)

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._of_server = self._of_server, AsyncExitStack()
        self._server = self.client = None
        await stack.__aexit__(kind, error, traceback)

    async def _serve_mail(self, name: str, stack: AsyncExitStack) -> None:
        """A mail server whose inbox is the followed file ``name``, or the one that ``FASTBG_SMTP`` names."""
        from fastbg.mail import MailServer, address_of

        named = self._options.environment.get("FASTBG_SMTP")
        if named:
            host, port = address_of(named)
            why = f"the mails go to {host}:{port}, where nobody sees them arrive: {name} tells nothing"
            self.places = replace(self.places, unseen={name: why})
            self._observer.remarks[why] = None
        else:
            server = await stack.enter_async_context(MailServer(self.places.files[name]))
            host, port = server.host, server.port
        self.known |= {"mail.host": host, "mail.port": str(port)}

    async def _serve_queue(self, settings: Settings) -> "Services":
        """A broker and a worker with these settings: those that run, or new ones."""
        from fastbg.services import Services

        if self._services is None or self._services_for != settings:
            await self._of_queue.aclose()
            self._services = await self._of_queue.enter_async_context(Services(settings))
            self._services_for = settings
        return self._services

    async def _wait_until_ready(self, client: "Client") -> None:
        """Ask whether the server answers; the beginning of any answer will do."""
        limit_s = READY_S if self._server is not None else min(self._options.limit_s, READY_S)
        failure, recorded = await self._probe(client, limit_s, journal=self._server is None)
        if failure and self._server is not None:
            raise await self._server.failure()
        if failure:
            raise ServerError(
                f"the server does not answer: {failure}",
                where=self.url or "",
                remedy="start it (`fastbg serve`), or name its address with --url: http or https, as it speaks",
            )
        if self._server is None:
            self.journal = recorded

    async def _probe(self, client: "Client", seconds: float, *, journal: bool) -> tuple[str, bool]:
        """Why the server does not answer a question that changes nothing in any app, or an empty text; and, if that is
        asked as well, whether its journal tells of it.
        """
        self._probes += 1
        request_id = f"{self._run_id}-probe{self._probes}"
        probe = Trace("", "", "OPTIONS", "", request_id, Expected(), [], True, answered=False)
        self._observer.live[request_id] = probe
        try:
            async with asyncio.timeout(seconds):
                failure = await client.reach(request_id)
        except TimeoutError:
            failure = f"nothing came within {seconds:g} s"
        recorded = not failure and journal and await self._observer.until(lambda: bool(probe.events), JOURNAL_S)
        del self._observer.live[request_id]
        return failure, recorded

    async def _notice_death(self, server: Server) -> None:
        error = await server.died()
        await self._observer.until(self._observer.all_read, LAST_WORDS_S)
        if not self._told_to_end:
            self.stopped = error.what
            self.stderr = error.stderr
        self._observer.wake()
