"""Runs one script: fires its requests at a `Backend`, lets an `Observer` see what becomes of them; a result out."""

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastbg import strict_json
from fastbg.backend import LAST_WORDS_S, Backend
from fastbg.data_folder import journal_of
from fastbg.events import Event
from fastbg.follow import Follower
from fastbg.launch import Child
from fastbg.observer import Observer
from fastbg.results import Group, RequestResult, RunResult, add_to_groups
from fastbg.settings import Settings
from fastbg.timeline import Trace
from fastbg.values import names, texts
from fastbg.versions import versions

if TYPE_CHECKING:
    from fastbg.client import Client
    from fastbg.plan import Template
    from fastbg.script import Source

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
        known = {"dir": str(options.directory)}
        used = {name for _, text in texts(source.script.model_dump()) for name in names(text)}
        known |= {f"env.{name}": value for name, value in options.environment.items() if f"env.{name}" in used}
        places = Places.of(source, options.directory, known)
        self._observer = Observer(
            places.files.values(),
            journal_of(options.directory),
            rf"{self._run_id}-[0-9]+",
            self._on_over,
            tells_all=(options.url or source.script.url) is None,
        )
        self._backend = Backend(source.script, options, places, known, self._observer, self._run_id, child)
        self._saved: dict[int, dict[str, Any]] = {}  # by the number of the repetition
        if source.remark:
            self._observer.remarks[source.remark] = None
        self.total = options.repeat * sum(r.repeat for part in source.script.all_parts for r in part.requests)
        self._digits = len(str(self.total))
        self._number = self._answered = self._over = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._names = [(part.name, request.name) for part in source.script.all_parts for request in part.requests]
        self._kept: dict[str, RequestResult] = {}
        self._limits: dict[str, float] = {}
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
            server=self._backend.name,
            directory=self.options.directory,
            folder=self._backend.places.folder,
            journal=self._observer.journal if self._backend.journal else None,
            files=self._observer.files,
            work=self._backend.work,
            requests=tuple(kept[mark] for mark in sorted(kept)),
            groups=tuple(self._groups[key] for key in self._names if key in self._groups),
            title=script.title,
            about=script.about,
            links=tuple(script.links),
            remarks=tuple(self._observer.remarks),
            seconds=(self._end_ns - self._begin_ns) / 1e9,
            stopped=self._backend.stopped,
            stderr=tuple(self._backend.stderr),
        )

    async def run(self) -> RunResult:
        """Run the script to its end. Raises `ServerError` where a server does not come up or is not reached."""
        from fastbg.plan import Template

        gc.freeze()  # what is imported stays: no collection looks at it, not while we measure and not at the end
        follower = Follower(self._observer.paths, journals=[self._observer.journal])
        async with self._backend as backend, follower:
            try:
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(self._observer.follow(follower))
                    for part in self.source.script.all_parts:
                        await backend.serve(part, group)
                        self._begin_ns = self._begin_ns if self._over else time.monotonic_ns()
                        count = len(part.requests)
                        templates = [Template(self.source, part, number, backend.places) for number in range(count)]
                        await self._run_part(templates)
                    self._end_ns = time.monotonic_ns()
                    await backend.leave()
                    following.cancel()
            except ExceptionGroup as errors:  # the error of the first task cancels the others
                raise _first(errors) from None
        if backend.url and not any(group.writes_ms for group in self._groups.values()):
            self._observer.remarks["no write was seen: is --dir the data folder of that server?"] = None
        return self.result()

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
                if request.signal.after == "started":
                    await self._until_started(fired)
                await self._backend.signal(request.signal)

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
        values = {**self._backend.known, **known, "mark": mark}
        outgoing = template.outgoing(values)
        client = self._backend.client
        url = client.url(outgoing.path, outgoing.query) if client else outgoing.path
        trace = template.trace(values, url=url, journal=self._backend.journal, name=template.request.name)
        self._observer.watch(trace)
        lacking = sorted(set(template.needs) - values.keys())
        if self._backend.refuses or client is None or lacking:
            why = self._backend.refuses or f"no earlier response had what {', '.join(lacking)} stands for"
            trace.answered = True
            self._observer.give_up(trace, f"not sent: {why}")
            return trace

        def emit(event: Event) -> None:
            self._observer.tell(trace, event)

        limit_s = self.options.limit_s
        if template.request.timeout is not None:
            limit_s = self._limits[mark] = template.request.timeout
        try:
            async with asyncio.timeout(limit_s), AsyncExitStack() as stack:
                if template.request.hang_up_after == "queued":
                    await stack.enter_async_context(self._hanging_up(client, trace, limit_s))
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

    @asynccontextmanager
    async def _hanging_up(self, client: "Client", trace: Trace, limit_s: float) -> AsyncIterator[None]:
        """Meanwhile, hang up as soon as the server has queued a task."""

        async def watch() -> None:
            if await self._observer.until(lambda: trace.find("task_queued") is not None, limit_s):
                client.hang_up(trace.request_id)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            yield
            watching.cancel()

    async def _until_started(self, traces: list[Trace]) -> None:
        """Wait until a task of each has started, if it has any."""
        for trace in traces:

            def started() -> bool:
                return trace.find("task_started") is not None or trace.request_id not in self._observer.live  # noqa: B023

            await self._observer.until(started, self.options.limit_s, quiet=True)

    async def _wait_for(self, traces: list[Trace]) -> None:
        """Wait until nothing that is to come could change a verdict, the server is gone, or nothing is heard."""
        observer = self._observer
        for trace in traces:
            limit_s = self._limits.get(trace.request_id, self.options.limit_s)

            def done() -> bool:
                over = trace.request_id not in observer.live  # noqa: B023  # asked at once
                return over or bool(self._backend.gone and not trace.with_broker)  # noqa: B023

            if not await observer.until(done, limit_s, quiet=True, due_ns=lambda: trace.due_ns):  # noqa: B023
                await self._backend.doubt_journal()
            if not done():
                is_due = trace.due_ns is not None and trace.due_ns <= time.monotonic_ns()
                waited_s = (trace.within_ms or 0) / 1000 if is_due else limit_s
                observer.give_up(trace, f"not within {waited_s:g} s")
            elif trace.request_id in observer.live:
                await observer.until(observer.all_read, LAST_WORDS_S)
                observer.give_up(trace, self._backend.gone)

    def _on_over(self, trace: Trace) -> None:
        result = RequestResult.of(trace)
        self._over += 1
        self._limits.pop(trace.request_id, None)
        add_to_groups(self._groups, result)
        if len(self._kept) < MOST_SHOWN or (result.unmet and len(self._kept) < MOST_SHOWN + MOST_UNMET):
            self._kept[trace.request_id] = result
        if self._backend.client is not None:
            finished = trace.find("request_finished")  # after an exception in the app, uvicorn closes the connection
            clean = finished is not None and "error" not in finished.detail
            clean = clean and result.judgement.verdict in ("response-first", "work-first", "no-work")
            self._backend.client.give_back(trace.request_id, clean=clean)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
