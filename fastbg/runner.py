"""Runs one script: server, client and follower in, a result out. The one place that knows them all."""

import asyncio
import gc
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.attribution import Attribution
from fastbg.errors import ServerError
from fastbg.events import Appended, Event, Notice, boot_id, read_journal_line
from fastbg.follow import Follower
from fastbg.launch import Child
from fastbg.results import RequestResult, RunResult
from fastbg.server import Server
from fastbg.timeline import Expected, ExpectedWrite, Trace
from fastbg.versions import versions

if TYPE_CHECKING:
    from fastbg.client import Client
    from fastbg.script import Request, Script

READY_S = 30.0  # how long the server may take to answer for the first time
STOP_S = 2.0  # how long our server may take to end; what still runs by then was given up before
LAST_WORDS_S = 1.0  # how long what a dead server wrote may take to be read
JOURNAL_S = 1.0  # how long after that first answer the journal of a server that is not ours may take to show it


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a script.

    ``directory``: the data folder. ``url``: a server that runs already. ``limit_s``: seconds that a response, and then
    its writes, may take.
    """

    directory: Path
    limit_s: float
    url: str | None = None


def sizes_of(paths: Iterable[Path]) -> dict[str, int]:
    """The size of each file in bytes, by its path; 0 for one that is not there."""
    sizes = {}
    for path in paths:
        try:
            sizes[str(path)] = path.stat().st_size
        except OSError:
            sizes[str(path)] = 0
    return sizes


class Runner:
    """One run of ``script`` against ``child``, or against the server at ``options.url`` where there is none.

    `result` may be asked for at any moment, from another thread too.

    ``before``: awaited with the name of each request, and what is to be said about it, before it is sent; with it the
    runner also waits for the writes of one request before it goes on to the next.
    """

    before: Callable[[str, str], Awaitable[None]] | None = None

    def __init__(self, script: "Script", options: Options, child: Child | None) -> None:
        self.script = script
        self.options = options
        self._child = child
        self._files = tuple(options.directory / name for name in script.follow)
        self._journal_path = options.directory / "journal.jsonl"
        self._paths = (*self._files, self._journal_path)
        self._run_id = secrets.token_hex(3)
        self._traces: dict[str, Trace] = {}
        self._attribution = Attribution()
        self._journal = child is not None
        self._positions: dict[str, int] = {}
        self._torn = b""
        self._remarks: dict[str, None] = {}
        self._stopped = ""
        self._stderr: list[str] = []
        self._changed = asyncio.Event()
        versions()  # read now, while the server starts, and kept

    def result(self) -> RunResult:
        """What is known so far."""
        return RunResult(
            versions=versions(),
            server=self._child.settings.app if self._child else self.options.url or "",
            directory=self.options.directory,
            journal=self._journal_path if self._journal else None,
            files=self._files,
            work=self._child.settings.work if self._child else None,
            requests=tuple(RequestResult.of(trace) for trace in tuple(self._traces.values())),
            remarks=tuple(self._remarks),
            stopped=self._stopped,
            stderr=tuple(self._stderr),
        )

    async def run(self) -> RunResult:
        """Run the script to its end. Raises `ServerError` where the server does not come up or is not reached."""
        from fastbg.client import Client  # httpx takes its time to import: our server starts meanwhile

        gc.freeze()  # what is imported stays: no collection looks at it, not while we measure and not at the end
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(Server(self._child, stop_s=STOP_S)) if self._child else None
            url = server.url if server else self.options.url or ""
            follower = await stack.enter_async_context(Follower(self._paths))
            self._positions = sizes_of(self._paths)
            client = await stack.enter_async_context(Client(url, timeout=self.options.limit_s, look=self._look))
            try:
                async with asyncio.TaskGroup() as group:
                    watching = [group.create_task(self._follow(follower))]
                    await self._wait_until_ready(client, server)
                    if server is not None:
                        watching.append(group.create_task(self._notice_death(server)))
                    await self._fire_all(client)
                    for task in watching:
                        task.cancel()
            except ExceptionGroup as group_of_one:  # the error of the first task cancels the others
                raise group_of_one.exceptions[0] from None
        return self.result()

    def _look(self) -> dict[str, int]:
        return sizes_of(self._files)

    async def _wait_until_ready(self, client: "Client", server: Server | None) -> None:
        """Ask until the server answers; any answer will do. The question changes nothing in any app."""
        request_id = f"{self._run_id}-ready"
        seen: list[Event] = []
        self._traces[request_id] = probe = Trace("", "", "OPTIONS", "", request_id, Expected(), [], True)
        try:
            async with asyncio.timeout(READY_S):
                answered = await client.fire("OPTIONS", "/", {}, request_id, seen.append)
        except TimeoutError:
            answered = None
        if answered is None and server is not None:
            raise await server.failure()
        if answered is None:
            raise ServerError(
                f"the server does not answer: {seen[-1].detail['error']}",
                where=self.options.url or "",
                remedy="start it (`fastbg serve`), or name its address with --url",
            )
        if server is None:
            self._journal = await self._until(lambda: bool(probe.events), JOURNAL_S)
        del self._traces[request_id]

    async def _fire_all(self, client: "Client") -> None:
        for number, template in enumerate(self.script.requests, start=1):
            mark = f"{self._run_id}-{number}"
            request = template.marked(mark)
            if self.before:
                await self.before(request.name, request.about)
            trace = self._traces[mark] = self._trace(client, request, mark)
            await self._fire(client, request, trace)
            if self.before:
                await self._wait_for_writes([trace])
        await self._wait_for_writes(list(self._traces.values()))
        if self.options.url and not any(trace.writes for trace in self._traces.values()):
            self._remarks["no write was seen: is --dir the data folder of that server?"] = None

    def _trace(self, client: "Client", request: "Request", mark: str) -> Trace:
        expect = request.expect
        return Trace(
            name=request.name,
            about=request.about,
            method=request.method,
            url=client.url(request.path, request.query),
            request_id=mark,
            expected=Expected(
                expect.verdict, expect.status, expect.body, None if expect.tasks is None else tuple(expect.tasks)
            ),
            expected_writes=[
                ExpectedWrite(str(self.options.directory / write.file), write.text, mark in write.text)
                for write in expect.writes
            ],
            journal=self._journal,
        )

    async def _fire(self, client: "Client", request: "Request", trace: Trace) -> None:
        if self._stopped:
            trace.ended = f"not sent: {self._stopped}"
            return

        def emit(event: Event) -> None:
            trace.events.append(event)
            if event.name == "request_sent":
                self._attribution.sent(trace, event.detail["sizes"])

        limit_s = self.options.limit_s
        try:
            async with asyncio.timeout(limit_s):
                response = await client.fire(request.method, request.path, request.query, trace.request_id, emit)
        except TimeoutError:
            error = f"no whole response within {limit_s:g} s"
            emit(Event(time.monotonic_ns(), "client", "request_failed", trace.request_id, {"error": error}))
            return
        if response is not None:
            trace.text = response.body.decode("utf-8", "replace")
            try:
                trace.body = json.loads(response.body)
            except ValueError:
                trace.body = None

    async def _wait_for_writes(self, traces: list[Trace]) -> None:
        """Wait until nothing that is to come could change a verdict, the server is gone, or the time is up."""
        for trace in traces:
            complete_ns = trace.time("response_complete") or time.monotonic_ns()
            left_s = self.options.limit_s - (time.monotonic_ns() - complete_ns) / 1e9
            if not await self._until(lambda: trace.settled or bool(self._stopped), left_s):  # noqa: B023  # asked at once
                trace.ended = f"not within {self.options.limit_s:g} s"
            elif not trace.settled:
                trace.ended = trace.ended or self._stopped

    async def _until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Whether ``happened`` came true within ``seconds``; it is asked whenever a witness has said something."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return happened()
        return True

    async def _notice_death(self, server: Server) -> None:
        error = await server.died()
        await self._until(self._all_read, LAST_WORDS_S)
        self._stopped = error.what
        self._stderr = error.stderr
        self._changed.set()

    def _all_read(self) -> bool:
        """Whether the follower has told everything that stands in the files."""
        return all(self._positions[path] >= size for path, size in sizes_of(self._paths).items())

    async def _follow(self, follower: Follower) -> None:
        async for item in follower:
            if isinstance(item, Appended):
                self._positions[str(item.path)] = item.offset + len(item.data)
            if isinstance(item, Notice):
                self._note(item)
            elif item.path == self._journal_path:
                self._read_journal(item)
            else:
                self._attribution.appended(item)
            self._changed.set()

    def _note(self, notice: Notice) -> None:
        if notice.kind == "refused":
            self._remarks[f"{notice.path}: {notice.message}"] = None
        if notice.kind in ("truncated", "replaced"):
            path = str(notice.path)
            self._positions[path] = 0
            self._attribution.restarted(path)
            for trace in self._traces.values():
                if not trace.settled:
                    trace.disturbed.add(path)

    def _read_journal(self, item: Appended) -> None:
        *lines, self._torn = (self._torn + item.data).split(b"\n")
        for line in lines:
            event = read_journal_line(line)
            trace = self._traces.get(event.request_id or "") if event else None
            if event is None or trace is None:
                continue
            if event.detail.get("boot") != boot_id():
                self._remarks["the server runs on another host: its times are not compared with ours"] = None
                continue
            trace.events.append(event)
            if event.name == "request_finished":
                self._attribution.finished(trace, event.detail.get("files") or {})
