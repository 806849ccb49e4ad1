"""Runs one script: server, client and follower in, a result out. The one place that knows them all."""

import asyncio
import gc
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastbg import strict_json
from fastbg.errors import ServerError
from fastbg.events import Event
from fastbg.follow import Follower
from fastbg.launch import Child
from fastbg.observer import Observer
from fastbg.results import Group, RequestResult, RunResult, add_to_groups
from fastbg.server import Server
from fastbg.serving import EXAMPLE, Settings
from fastbg.timeline import Expected, Trace
from fastbg.values import names, texts
from fastbg.versions import versions

if TYPE_CHECKING:
    from fastbg.client import Client
    from fastbg.plan import Template
    from fastbg.script import Part, SignalAfter, Source
    from fastbg.services import Services

READY_S = 30.0  # how long the server may take to answer for the first time
STOP_S = 2.0  # how long our server may take to end; what still runs by then was given up before
LAST_WORDS_S = 1.0  # how long what a dead server wrote may take to be read
JOURNAL_S = 1.0  # how long after that first answer the journal of a server that is not ours may take to show it
MOST_SHOWN = 1000  # requests that are kept one by one; of the others only what was not as expected,
MOST_UNMET = 100  # and no more of that


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a script.

    ``directory``: the data folder. ``url``: a server that runs already, instead of the script's. ``limit_s``: seconds
    that a response may take, and then as many without any news of its tasks and writes; a request may have its own.
    ``repeat``: how often the requests of each part are sent, ``concurrency``: how many times at once. ``base``: what is
    known of a server of ours. ``environment``: for ``${env.NAME}``.
    """

    directory: Path
    limit_s: float
    base: Settings
    environment: Mapping[str, str]
    url: str | None = None
    repeat: int = 1
    concurrency: int = 1


class Runner:
    """One run of the script in ``source``. ``child``: the server of its first part, if that has started already.

    `result` may be asked for at any moment, from another thread too.

    ``before``: awaited with the name of each request, and what is to be said about it, before it is sent; with it the
    runner also waits for the writes of one request before it goes on to the next, unless that is to come meanwhile.
    """

    before: Callable[[str, str], Awaitable[None]] | None = None

    def __init__(self, source: "Source", options: Options, child: Child | None) -> None:
        from fastbg.plan import Places

        self.source = source
        self.options = options
        self._run_id = secrets.token_hex(3)
        self._known = {"dir": str(options.directory)}
        used = {name for _, text in texts(source.script.model_dump()) for name in names(text)}
        self._known |= {f"env.{name}": value for name, value in options.environment.items() if f"env.{name}" in used}
        self._saved: dict[int, dict[str, Any]] = {}  # by the number of the repetition
        self._places = Places.of(source, options.directory, self._known)
        self._url = options.url or source.script.url
        self._observer = Observer(
            self._places.files.values(),
            options.directory / "journal.jsonl",
            rf"{self._run_id}-[0-9]+",
            self._on_over,
            tells_all=self._url is None,
        )
        if source.remark:
            self._observer.remarks[source.remark] = None
        self._child = child
        self._server: Server | None = None
        self._stack = AsyncExitStack()
        self._queue_stack = AsyncExitStack()
        self._services: Services | None = None
        self._services_for: Settings | None = None
        self._client: Client | None = None
        self._journal = self._url is None
        self.total = options.repeat * sum(r.repeat for part in source.script.all_parts for r in part.requests)
        self._digits = len(str(self.total))
        self._number = self._answered = self._over = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._names = [(part.name, request.name) for part in source.script.all_parts for request in part.requests]
        self._kept: dict[str, RequestResult] = {}
        self._limits: dict[str, float] = {}
        self._probes = 0
        self._doubted_ns = 0
        self._doubting = asyncio.Lock()
        self._stopped = ""
        self._told_to_end = ""
        self._stderr: list[str] = []
        self._begin_ns = self._end_ns = time.monotonic_ns()
        versions()  # read now, while the server starts, and kept

    def progress(self) -> tuple[int, int, int]:
        """How many requests there are in all, how many are answered, and of how many everything is known."""
        return self.total, self._answered, self._over

    def result(self) -> RunResult:
        """What is known so far; the groups have the requests that are over."""
        script = self.source.script
        live = {trace.request_id: RequestResult.of(trace) for trace in tuple(self._observer.live.values())}
        kept = self._kept | live
        return RunResult(
            versions=versions(),
            name=self.source.name.removesuffix(".toml"),
            server=self._url or (self._child.settings.app if self._child else script.app or ""),
            directory=self.options.directory,
            folder=self._places.folder,
            journal=self._observer.journal if self._journal else None,
            files=self._observer.files,
            work=self._child.settings.work if self._child and self._child.settings.app == EXAMPLE else None,
            requests=tuple(kept[mark] for mark in sorted(kept)),
            groups=tuple(self._groups[key] for key in self._names if key in self._groups),
            title=script.title,
            about=script.about,
            links=tuple(script.links),
            remarks=tuple(self._observer.remarks),
            seconds=(self._end_ns - self._begin_ns) / 1e9,
            stopped=self._stopped,
            stderr=tuple(self._stderr),
        )

    async def run(self) -> RunResult:
        """Run the script to its end. Raises `ServerError` where a server does not come up or is not reached."""
        from fastbg.plan import Template

        gc.freeze()  # what is imported stays: no collection looks at it, not while we measure and not at the end
        parts = self.source.script.all_parts
        async with AsyncExitStack() as stack:
            if self.source.script.mail is not None:
                await self._serve_mail(self.source.script.mail, stack)
            stack.push_async_callback(self._queue_stack.aclose)
            stack.push_async_exit(self._leave_server)
            follower = await stack.enter_async_context(
                Follower(self._observer.paths, journals=[self._observer.journal])
            )
            try:
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(self._observer.follow(follower))
                    for part in parts:
                        await self._serve(part, group)
                        self._begin_ns = self._begin_ns if self._over else time.monotonic_ns()
                        templates = [
                            Template(self.source, part, number, self._places) for number in range(len(part.requests))
                        ]
                        await self._run_part(templates)
                    self._end_ns = time.monotonic_ns()
                    await self._leave_server()
                    following.cancel()
            except ExceptionGroup as errors:  # the error of the first task cancels the others
                raise _first(errors) from None
        if self._url and not any(group.writes_ms for group in self._groups.values()):
            self._observer.remarks["no write was seen: is --dir the data folder of that server?"] = None
        return self.result()

    # Servers

    async def _serve_mail(self, name: str, stack: AsyncExitStack) -> None:
        """A mail server whose inbox is the followed file ``name``, or the one that ``FASTBG_SMTP`` names."""
        from fastbg.mail import MailServer, address_of

        named = self.options.environment.get("FASTBG_SMTP")
        if named:
            host, port = address_of(named)
            why = f"the mails go to {host}:{port}, where nobody sees them arrive: {name} tells nothing"
            self._places = replace(self._places, unseen={name: why})
            self._observer.remarks[why] = None
        else:
            server = await stack.enter_async_context(MailServer(self._places.files[name]))
            host, port = server.host, server.port
        self._known |= {"mail.host": host, "mail.port": str(port)}

    async def _serve_queue(self, settings: Settings) -> "Services":
        """A broker and a worker with these settings: those that run, or new ones."""
        from fastbg.services import Services

        if self._services is None or self._services_for != settings:
            await self._queue_stack.aclose()
            self._services = await self._queue_stack.enter_async_context(Services(settings))
            self._services_for = settings
        return self._services

    async def _serve(self, part: "Part", group: asyncio.TaskGroup) -> None:
        """A server that ``part`` can ask: the one that runs, if it is as that part wants it, or a new one."""
        from fastbg.client import Client  # httpx takes its time to import: our server starts meanwhile
        from fastbg.plan import settings_of

        if self._url is not None:
            if self._client is None:
                self._client = await self._stack.enter_async_context(self._make_client(Client, self._url))
                await self._wait_until_ready(self._client)
            return
        base = self.options.base
        wanted = settings_of(self.source.script, part, self._places, self._known, base)
        if part.worker is not None:
            services = await self._serve_queue(replace(wanted, app=part.worker))
            wanted = replace(wanted, env=(*wanted.env, ("FASTBG_BROKER", services.broker.address)))
        running = self._server is not None and self._server.returncode is None and not self._told_to_end
        if running and self._child is not None and self._child.settings == wanted:
            return
        await self._leave_server()
        if self._stopped:
            return
        if self._child is None or self._child.settings != wanted or self._child.process.poll() is not None:
            self._child = self._stack.enter_context(Child(wanted))
        self._told_to_end = ""
        self._server = await self._stack.enter_async_context(Server(self._child, stop_s=STOP_S))
        self._client = await self._stack.enter_async_context(self._make_client(Client, self._server.url))
        noticing = group.create_task(self._notice_death(self._server))
        self._stack.callback(noticing.cancel)
        await self._wait_until_ready(self._client)

    def _make_client(self, client: "type[Client]", url: str) -> "Client":
        return client(url, self._observer.look)

    async def _leave_server(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Nothing of the server that we ask is left."""
        stack, self._stack = self._stack, AsyncExitStack()
        self._server = self._client = None
        await stack.__aexit__(kind, error, traceback)

    async def _wait_until_ready(self, client: "Client") -> None:
        """Ask whether the server answers; the beginning of any answer will do."""
        limit_s = READY_S if self._server is not None else min(self.options.limit_s, READY_S)
        failure, recorded = await self._probe(client, limit_s, journal=self._server is None)
        if failure and self._server is not None:
            raise await self._server.failure()
        if failure:
            raise ServerError(
                f"the server does not answer: {failure}",
                where=self._url or "",
                remedy="start it (`fastbg serve`), or name its address with --url: http or https, as it speaks",
            )
        if self._server is None:
            self._journal = recorded

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

    async def _doubt_journal(self) -> None:
        """Nothing was heard for long: has nothing happened, or is the journal not written any more?"""
        observer, client = self._observer, self._client
        async with self._doubting:
            if self._doubted_ns == observer.heard_ns:
                return
            self._doubted_ns = observer.heard_ns
            await observer.until(observer.all_read, LAST_WORDS_S)  # we may have been stopped meanwhile
            if not self._journal or observer.gap or client is None or self._gone:
                return
            failure, recorded = await self._probe(client, JOURNAL_S, journal=True)
            if not failure and not recorded and not self._gone:
                observer.gap = "the server writes its journal no more: is there room for it?"
                observer.lacks_events(observer.gap)

    async def _notice_death(self, server: Server) -> None:
        error = await server.died()
        await self._observer.until(self._observer.all_read, LAST_WORDS_S)
        if not self._told_to_end:
            self._stopped = error.what
            self._stderr = error.stderr
        self._observer.wake()

    @property
    def _gone(self) -> str:
        """Why the server serves no more, or an empty text."""
        if self._stopped or self._server is None or self._server.returncode is None:
            return self._stopped
        return self._told_to_end

    # Requests

    async def _run_part(self, templates: "list[Template]") -> None:
        numbers = iter(range(self.options.repeat))

        async def work() -> None:
            for number in numbers:  # shared by all workers
                values = self._saved.pop(number, {})
                await self._run_once(templates, values)
                if values:
                    self._saved[number] = values  # for later parts

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.options.concurrency, self.options.repeat)):
                group.create_task(work())
        await self._wait_for(list(self._observer.live.values()))

    async def _run_once(self, templates: "list[Template]", known: dict[str, Any]) -> None:
        """Send the requests of a part one after the other; what one saves is ``known`` to the later ones."""
        fired: list[Trace] = []
        for number, template in enumerate(templates):
            request = template.request
            if self.before and (request.after != "meanwhile" or not fired):
                await self._wait_for(fired)
                at_once = takewhile(lambda behind: behind.request.after == "meanwhile", templates[number + 1 :])
                await self.before(request.name, " ".join(each.request.about for each in (template, *at_once)))
            if request.after == "tasks":
                await self._wait_for(fired)
            numbers = iter(range(request.repeat))
            async with asyncio.TaskGroup() as group:
                for _ in range(request.concurrency):
                    group.create_task(self._fire_each(template, numbers, known, fired))
            if request.signal is not None:
                await self._send(request.signal)

    async def _fire_each(
        self, template: "Template", numbers: Iterator[int], known: dict[str, Any], fired: list[Trace]
    ) -> None:
        for _ in numbers:  # shared by all that fire at once
            trace = await self._fire(template, known)
            fired.append(trace)

    async def _fire(self, template: "Template", known: dict[str, Any]) -> Trace:
        from fastbg.plan import saved

        self._number += 1
        mark = f"{self._run_id}-{self._number:0{self._digits}}"
        values = {**self._known, **known, "mark": mark}
        outgoing = template.outgoing(values)
        client = self._client
        url = client.url(outgoing.path, outgoing.query) if client else outgoing.path
        trace = template.trace(values, url=url, journal=self._journal, name=template.request.name)
        self._observer.watch(trace)
        lacking = sorted(set(template.needs) - values.keys())
        if self._gone or self._told_to_end or client is None or lacking:
            why = self._gone or self._told_to_end or f"no earlier response had what {', '.join(lacking)} stands for"
            trace.answered = True
            self._observer.give_up(trace, f"not sent: {why}")
            return trace

        def emit(event: Event) -> None:
            self._observer.tell(trace, event)

        limit_s = self.options.limit_s
        if template.request.timeout is not None:
            limit_s = self._limits[mark] = template.request.timeout
        try:
            async with asyncio.timeout(limit_s):
                response = await client.fire(outgoing, mark, emit)
        except TimeoutError:
            error = f"no whole response within {limit_s:g} s"
            emit(Event(time.monotonic_ns(), "client", "request_failed", mark, {"error": error}))
            response = None
        if response is not None:
            body = response.body
            trace.text, trace.length, trace.cut = body.kept.decode("utf-8", "replace"), body.length, body.cut
            try:
                trace.body = strict_json.loads(body.kept)
            except ValueError:
                trace.body = None
            found, trace.unsaved = saved(template.request.save, response, trace.body)
            known |= found
        trace.answered = True
        self._answered += 1
        self._observer.consider(trace)
        return trace

    async def _send(self, order: "SignalAfter") -> None:
        """Send the server a signal; or a worker or the broker, which are then started again."""
        await asyncio.sleep(order.after)
        if order.to != "server":
            if self._services is not None:
                await self._services.signal(order.to, signal.Signals[order.name])
            return
        if self._server is None or self._gone:
            return
        self._told_to_end = f"the script sent the server {order.name}"
        self._server.send(signal.Signals[order.name])

    async def _wait_for(self, traces: list[Trace]) -> None:
        """Wait until nothing that is to come could change a verdict, the server is gone, or nothing is heard."""
        observer = self._observer
        for trace in traces:
            limit_s = self._limits.get(trace.request_id, self.options.limit_s)

            def done() -> bool:
                over = trace.request_id not in observer.live  # noqa: B023  # asked at once
                return over or bool(self._gone and not trace.with_broker)  # noqa: B023

            if not await observer.until(done, limit_s, quiet=True):
                await self._doubt_journal()
            if not done():
                observer.give_up(trace, f"not within {limit_s:g} s")
            elif trace.request_id in observer.live:
                await observer.until(observer.all_read, LAST_WORDS_S)
                observer.give_up(trace, self._gone)

    def _on_over(self, trace: Trace) -> None:
        result = RequestResult.of(trace)
        self._over += 1
        self._limits.pop(trace.request_id, None)
        add_to_groups(self._groups, result)
        if len(self._kept) < MOST_SHOWN or (result.unmet and len(self._kept) < MOST_SHOWN + MOST_UNMET):
            self._kept[trace.request_id] = result
        if self._client is not None:
            clean = result.judgement.verdict in ("response-first", "work-first", "no-work")
            self._client.give_back(trace.request_id, clean=clean and trace.journal)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
