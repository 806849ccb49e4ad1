"""Runs one script: sends its requests to a `Testbed`, while an `Observer` records their events."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastbg.clock import monotonic_ns
from fastbg.data_folder import journal_of
from fastbg.events import Event
from fastbg.evidence.observer import Observer
from fastbg.evidence.results import RequestResult, RunResult
from fastbg.evidence.trace import Trace
from fastbg.evidence.verdict import Judgement
from fastbg.follow.files import file_at
from fastbg.follow.follower import Follower
from fastbg.recorder.request_ids import RUN_TEXTS, id_of_request, new_run, pattern_of_ids, run_text
from fastbg.run.options import RunOptions
from fastbg.run.progress_limit import progress_limit
from fastbg.run.result_store import ResultStore
from fastbg.run.stepping import Action, Pause, Step, run_steps, steps_of
from fastbg.run.testbed import Testbed
from fastbg.server.process import ServerProcess
from fastbg.versions import versions

if TYPE_CHECKING:
    from fastbg.run.client import Client, OutgoingRequest, Response
    from fastbg.run.prepare import RequestTemplate
    from fastbg.scripting.model import Part
    from fastbg.scripting.reader import Source

Values = dict[str, Any]

INTERRUPTED = Judgement("unproven", (), "the run was interrupted before the request was finished")


class Runner:
    """One run of the script in ``source``. ``child``: the server of the first part, if it was already started.

    `result` may be called at any time and from any thread. Raises `FollowError` if a followed file cannot be read.

    ``pause``: awaited before each step, and after the last one. If it is set, the runner also waits for the writes of
    a step before it begins the next one.
    """

    pause: Callable[[Pause], Awaitable[Action]] | None = None

    def __init__(self, source: "Source", options: RunOptions, child: ServerProcess | None) -> None:
        from fastbg.run.prepare import RunPaths, known_values

        self.source = source
        self.options = options
        self._run_id = new_run()
        self._run_seed = secrets.randbelow(RUN_TEXTS)
        known = known_values(source, options.directory, options.environment)
        paths = RunPaths.of(source, options.directory, known)
        for path in paths.files.values():
            with suppress(FileNotFoundError):  # a task creates it
                file_at(path)
        self._observer = Observer(
            paths.files.values(),
            journal_of(options.directory),
            pattern_of_ids(self._run_id),
            self._on_over,
            has_all_sizes=(options.url or source.script.url) is None,
        )
        self._testbed = Testbed(source.script, options, paths, known, self._observer, self._run_id, child)
        self._saved: dict[int, Values] = {}  # by number of the repetition
        self._observer.remarks |= dict.fromkeys(source.remarks)
        parts = source.script.all_parts
        self.total = options.repeat * sum(request.repeat for part in parts for request in part.requests)
        self._sent, self._answered, self._quit = 0, 0, False
        self._refused = False  # whether a request could not be sent
        self._results = ResultStore((part.name, request.name) for part in parts for request in part.requests)
        self._limits: dict[str, float] = {}
        self._begin_ns = self._end_ns = monotonic_ns()
        versions()  # fill the cache now, while the server starts

    def progress(self) -> tuple[int, int, int]:
        """Return the number of all requests, of those with a response, and of the finished ones."""
        return self.total, self._answered, self._results.over

    def result(self, *, interrupted: int = 0) -> RunResult:
        """Return the result up to now. The groups include only finished requests.

        ``interrupted``: exit code of a signal that ended the run. Unfinished requests are then unproven.
        """
        script, server, log = self.source.script, self._testbed.server, self.options.server_log
        live = [RequestResult.of(trace) for trace in tuple(self._observer.live.values()) if trace.request.name]
        if interrupted:
            self._end_ns = monotonic_ns()
            for trace in (each.trace for each in live if not each.is_over):
                trace.ended_ns, trace.interrupted = self._end_ns, True
            live = [each if each.is_over else replace(each, judgement=INTERRUPTED, unmet=()) for each in live]
        requests = self._results.with_live(live)
        # Otherwise a write may belong to a request that is not kept.
        knows_all = len(requests) >= self._results.over
        remarks = [*self._observer.remarks, *([log.problem] if log and log.problem else [])]
        return RunResult(
            versions=versions(),
            name=self.source.label,
            server=self._testbed.name,
            directory=self.options.directory,
            folder=self._testbed.paths.folder,
            journal=self._observer.journal if self._testbed.journal else None,
            files=self._observer.files,
            work=self._testbed.work,
            requests=requests,
            others=self._observer.seen.others(requests, journal=self._testbed.url is None) if knows_all else (),
            groups=self._results.groups,
            title=script.title,
            about=script.about,
            moral=script.moral,
            links=tuple(script.links),
            remarks=tuple(remarks),
            blocked=self._observer.blocked.all(),
            warning=self._testbed.warning,
            begin_ns=self._begin_ns,
            seconds=(self._end_ns - self._begin_ns) / 1e9,
            stopped=server.stopped or ("interrupted" if interrupted else ""),
            interrupted=interrupted,
            quit=self._quit,
            stderr=tuple(server.stderr),
            server_log=log.path if log and log.is_open else None,
        )

    async def run(self) -> RunResult:
        """Run the script. Raises `ServerError` if a server does not start or cannot be reached."""
        gc.freeze()  # the collector skips imported objects, during the measurement and at exit
        follower = Follower(self._observer.paths, journals=[self._observer.journal])
        async with self._testbed, follower:
            try:
                await self._run_parts(follower)
            except ExceptionGroup as errors:  # the error of the first task cancels the others
                raise _first(errors) from None
        return self.result()

    async def _run_parts(self, follower: Follower) -> None:
        async with asyncio.TaskGroup() as group:
            serve = partial(self._serve, group=group)
            observing = (self._observer.follow(follower), self._observer.look_again())
            observers = [group.create_task(each) for each in observing]
            if self.pause is not None:
                await self._run_steps(self.pause, serve)
            else:
                for part in self.source.script.all_parts:
                    await serve(part)
                    await self._run_part(self._templates(part))
            self._end_ns = monotonic_ns()
            if self._refused:
                await self._testbed.server.notice_end()
            await self._testbed.server.stop()
            self._observer.mark_cut_processes()
            for task in observers:
                task.cancel()

    def _templates(self, part: "Part") -> "list[RequestTemplate]":
        from fastbg.run.prepare import RequestTemplate

        return [RequestTemplate(self.source, part, n, self._testbed.paths) for n in range(len(part.requests))]

    async def _serve(self, part: "Part", group: asyncio.TaskGroup) -> None:
        await self._testbed.serve(part, group)
        self._begin_ns = self._begin_ns if self._results.over else monotonic_ns()

    async def _run_steps(
        self, pause: Callable[[Pause], Awaitable[Action]], serve: Callable[["Part"], Awaitable[None]]
    ) -> None:
        """Send the requests of one step after each pause."""
        steps = [step for part in self.source.script.all_parts for step in steps_of(part, self._templates(part))]
        saved = self._values(0)

        async def send(step: Step) -> None:
            await self._wait_for(await self._run_once(step.templates, saved))

        done = await run_steps(steps, pause, serve, send)
        self._quit = done < len(steps)
        if self._quit:
            sent = sum(step.requests for step in steps[:done])
            self._observer.remarks[f"stopped with q: sent {sent} of {self.total} requests"] = None

    async def _run_part(self, templates: "list[RequestTemplate]") -> None:
        numbers = iter(range(self.options.repeat))

        async def work() -> None:
            for number in numbers:  # shared by all workers
                values = self._values(number)
                await self._run_once(templates, values)
                if values.keys() > {"run"}:
                    self._saved[number] = values  # for later parts

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.options.concurrency, self.options.repeat)):
                group.create_task(work())
        await self._wait_for(list(self._observer.live.values()))
        unmet = [result for result in self._results.with_live(()) if result.unmet and result.part == templates[0].part]
        if any(result.trace.status in (404, 405) for result in unmet):
            from fastbg.run.similar_routes import add_similar_routes

            await add_similar_routes(unmet, self._testbed)

    def _values(self, repetition: int) -> Values:
        """Return the values that the requests of a repetition share."""
        return {"run": run_text(self._run_seed, repetition), **self._saved.pop(repetition, {})}

    async def _run_once(self, templates: "Sequence[RequestTemplate]", saved: Values) -> list[Trace]:
        """Send the requests of a part or a step in sequence. Later requests can use the values in ``saved``."""
        sent: list[Trace] = []
        for template in templates:
            await self._send_all(template, saved, sent)
        return sent

    async def _send_all(self, template: "RequestTemplate", saved: Values, sent: list[Trace]) -> None:
        """Send a request and its repetitions, then its signal. ``sent``: the earlier requests; it gets the new ones."""
        request = template.request
        if request.after == "tasks":
            await self._wait_for(sent)
        numbers = iter(range(request.repeat))
        async with asyncio.TaskGroup() as group:
            for _ in range(request.concurrency):
                group.create_task(self._send_each(template, numbers, saved, sent))
        if request.signal is not None:
            if request.signal.after == "started":
                await self._until_started(sent)
            await self._testbed.signal(request.signal)

    async def _send_each(
        self, template: "RequestTemplate", numbers: Iterator[int], saved: Values, sent: list[Trace]
    ) -> None:
        for _ in numbers:  # shared by all parallel senders
            trace = await self._send(template, saved)
            sent.append(trace)

    async def _send(self, template: "RequestTemplate", saved: Values) -> Trace:
        self._sent += 1
        digits = len(str(self.total)) + (2 if self.pause else 0)  # ids sort as text, also when steps are repeated
        request_id = id_of_request(self._run_id, self._sent, digits)
        values = {**self._testbed.known, **saved, "mark": request_id}
        outgoing = template.outgoing(values)
        client = self._testbed.server.client
        url = client.url(outgoing.path, outgoing.query) if client else outgoing.path
        trace = template.trace(values, url=url, journal=self._testbed.journal, name=template.request.name)
        self._observer.watch(trace)
        missing = sorted(set(template.needs) - values.keys())
        if self._testbed.server.refusal or client is None or missing:
            why = self._testbed.server.refusal or f"no earlier response had a value for {', '.join(missing)}"
            trace.answered = True
            self._observer.end(trace, f"not sent: {why}")
            return trace
        found, trace.unsaved = template.saved_of_request(outgoing, url)
        saved |= found
        response = await self._response(client, template, outgoing, trace)
        if response is not None:
            trace.body = response.body.received()
            found, unsaved = template.saved(response, trace.body.json)
            saved |= found
            trace.unsaved |= unsaved
        self._refused = self._refused or trace.find("request_sent") is None
        trace.answered = True
        self._answered += 1
        self._observer.update(trace)
        return trace

    async def _response(
        self, client: "Client", template: "RequestTemplate", outgoing: "OutgoingRequest", trace: Trace
    ) -> "Response | None":
        """Send the request and return the complete response, or None after an error or timeout."""
        request, request_id, limit_s = template.request, trace.request_id, self.options.limit_s
        if request.timeout is not None:
            limit_s = self._limits[request_id] = request.timeout

        def emit(event: Event) -> None:
            self._observer.record(trace, event)

        try:
            async with progress_limit(self._observer, limit_s), AsyncExitStack() as stack:
                if request.hang_up_after == "queued":
                    await stack.enter_async_context(self._hanging_up(client, trace, limit_s))
                return await client.send(outgoing, request_id, emit)
        except TimeoutError:
            error = f"no complete response, and no event for {limit_s:g} s"
            emit(Event(monotonic_ns(), "client", "request_failed", request_id, {"error": error}))
            return None

    @asynccontextmanager
    async def _hanging_up(self, client: "Client", trace: Trace, limit_s: float) -> AsyncIterator[None]:
        """Close the connection of the request as soon as the server has queued a task."""

        async def watch() -> None:
            def queued() -> bool:
                return trace.find("task_queued") is not None

            if await self._observer.until(queued, limit_s, trace=trace, quiet=True):
                client.hang_up(trace.request_id)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            yield
            watching.cancel()

    async def _until_started(self, traces: list[Trace]) -> None:
        """Wait until each request has started a task or is over."""
        for trace in traces:

            def started() -> bool:
                return trace.find("task_started") is not None or trace.request_id not in self._observer.live  # noqa: B023

            await self._observer.until(started, self.options.limit_s, trace=trace, quiet=True)

    async def _wait_for(self, traces: list[Trace]) -> None:
        for trace in traces:
            await self._wait_for_one(trace)

    async def _wait_for_one(self, trace: Trace) -> None:
        """Wait until no event can change the verdict, the server has ended, or no event arrives within the timeout."""
        observer, server = self._observer, self._testbed.server
        limit_s = self._limits.get(trace.request_id, self.options.limit_s)

        def why_gone() -> str | None:
            return None if trace.with_broker else server.gone or observer.why_gone(trace)

        def done() -> bool:
            return trace.request_id not in observer.live or why_gone() is not None

        if not await observer.until(done, limit_s, trace=trace, quiet=True, due_ns=lambda: trace.due_ns):
            await self._testbed.check_journal()
            observer.mark_cut_processes()
            await observer.look(trace)
        if not done():
            is_due = trace.due_ns is not None and trace.due_ns <= monotonic_ns()
            waited_s = (trace.within_ms or 0) / 1000 if is_due else limit_s
            observer.end(trace, f"not within {waited_s:g} s")
        elif trace.request_id in observer.live:
            await observer.read_all()
            observer.mark_cut_processes()
            await observer.look(trace)
            observer.end(trace, why_gone(), server_gone=True)

    def _on_over(self, trace: Trace) -> None:
        self._results.add(RequestResult.of(trace))
        self._limits.pop(trace.request_id, None)
        if self._testbed.server.client is not None:
            self._testbed.server.client.release(trace.request_id)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
