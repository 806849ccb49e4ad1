"""The servers that a run needs for each part: the app's server, a mail server, and a broker with its worker."""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fastbg.errors import ServerError
from fastbg.evidence.observer import Observer
from fastbg.run.options import RunOptions
from fastbg.run.probe import Prober
from fastbg.run.target import TargetServer
from fastbg.server.process import ServerProcess
from fastbg.server.settings import EXAMPLE, ServerSettings
from fastbg.server.starting import READY_S

if TYPE_CHECKING:
    from fastbg.run.client import Client
    from fastbg.run.prepare import RunPaths
    from fastbg.scripting.model import Part, Script, SignalAfter
    from fastbg.services.queue import TaskQueue


class Testbed:
    """The servers of a run. Use it as ``async with Testbed(...) as testbed``; all servers stop on exit.

    ``child``: the server of the first part, if it was already started. ``run_id``: the prefix of the request ids of
    probes. ``paths``, ``known``: the files and values for requests, complete after `serve`. ``journal``: whether the
    server's journal is available. ``warning``: what the reader of the result must know first, or None.
    """

    def __init__(
        self, script: "Script", options: RunOptions, paths: "RunPaths", known: dict[str, str],
        observer: Observer, run_id: str, child: ServerProcess | None,
    ) -> None:  # fmt: skip
        self.url = options.url or script.url
        self.paths = paths
        self.known = known
        self.journal = self.url is None
        self.warning: str | None = None
        self.server = TargetServer(observer, child, options.server_log)
        self._script = script
        self._options = options
        self._observer = observer
        self._prober = Prober(observer, run_id)
        self._queue = _Queue()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._script.mail is not None:
                await self._serve_mail(self._script.mail, stack)
            stack.push_async_callback(self._queue.stop)
            await stack.enter_async_context(self.server)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def name(self) -> str:
        """The URL of the running server, or the name of the app."""
        child = self.server.child
        return self.url or (child.settings.name if child else self._script.app or "")

    @property
    def work(self) -> float | None:
        """Duration of the example's slow job in seconds, or None for other apps."""
        child = self.server.child
        return child.settings.work if child and child.settings.app == EXAMPLE else None

    async def serve(self, part: "Part", group: asyncio.TaskGroup) -> None:
        """Provide a server for ``part``: the running one if its settings match, otherwise a new one.

        A task in ``group`` watches for its end. Raises `ServerError`.
        """
        if self.url is not None:
            if self.server.client is None:
                await self._connect(self.url)
            return
        wanted = await self._settings(part)
        if self.server.serves(wanted):
            return
        if self.server.has_exited:
            await self.server.notice_end()
        await self.server.stop()
        if not self.server.has_died(wanted):  # it would die again
            self._begin_log(f"{wanted.name}, {part.name}" if part.name else wanted.name)
            client = await self.server.start(wanted, group)
            self.journal = True
            if wanted.command:
                await self._check_recorded(client, wanted.name)
            elif await self._prober.reach(client, READY_S) is not None:
                raise await self.server.failure()

    async def signal(self, action: "SignalAfter") -> None:
        """Send a signal to the server, the worker or the broker. Worker and broker are then restarted."""
        if action.after != "started":
            await asyncio.sleep(action.after)
        number = signal.Signals[action.name]
        if action.to == "server":
            self.server.send(number)
        else:
            await self._queue.signal(action.to, number)

    async def openapi(self) -> bytes | None:
        """Return the OpenAPI document of the app, None if it cannot be read."""
        client = self.server.client
        return None if client is None or self.server.refusal else await self._prober.fetch(client, "/openapi.json")

    async def check_journal(self) -> None:
        """Check after a long silence that the journal is still written."""
        if self.journal:
            await self._prober.check_journal(self.server)

    async def _check_recorded(self, client: "Client", command: str) -> None:
        """Check that the server of a command responds, and that it is recorded."""
        failure, self.journal = await self._prober.find_journal(client, READY_S)
        if failure is not None:
            raise await self.server.failure()
        if not self.journal:
            self._warn(
                f"the server of this command is not recorded, so its tasks cannot be seen: {command}; "
                "`fastbg explain run` says which servers are"
            )

    def _warn(self, warning: str) -> None:
        self.warning = warning
        self._observer.remarks = {warning: None, **self._observer.remarks}

    def _begin_log(self, title: str) -> None:
        log = self._options.server_log
        if log is not None and log.path not in self.paths.files.values():  # the app may have a file of this name
            log.begin(title)

    async def _connect(self, url: str) -> None:
        """Connect to the running server at ``url``. Raises `ServerError`."""
        client = await self.server.connect(url)
        failure, self.journal = await self._prober.find_journal(client, min(self._options.limit_s, READY_S))
        if failure is not None:
            raise ServerError(
                f"the server does not respond: {failure}",
                where=url,
                remedy="start the server, or correct --url; check also http or https",
            )
        if not self.journal:
            self._warn(
                f"{self._options.directory} has no journal of the server at {url}, so its tasks cannot be seen: "
                "name that server's data folder with --dir, or start it with `fastbg run` or `fastbg serve`"
            )

    async def _settings(self, part: "Part") -> ServerSettings:
        """Return the server settings for ``part``. Start its broker and worker if needed."""
        from fastbg.run.prepare import settings_of

        wanted = settings_of(self._script, part, self.paths, self.known, self._options.base)
        if part.worker is None:
            return wanted
        task_queue = await self._queue.serve(replace(wanted, app=part.worker))
        return wanted.with_variable("FASTBG_BROKER", task_queue.broker.address)

    async def _serve_mail(self, name: str, stack: AsyncExitStack) -> None:
        """Start a mail server with the followed file ``name`` as inbox, or use the server in ``FASTBG_SMTP``."""
        from fastbg.services.mail import MailServer, parse_address

        smtp = self._options.environment.get("FASTBG_SMTP")
        if smtp:
            host, port = parse_address(smtp)
            why = f"email goes to {host}:{port}, where fastbg cannot see it arrive: {name} stays empty"
            self.paths = replace(self.paths, unseen={name: why})
            self._observer.remarks[why] = None
        else:
            server = await stack.enter_async_context(MailServer(self.paths.files[name]))
            host, port = server.host, server.port
        self.known |= {"mail.host": host, "mail.port": str(port)}


class _Queue:
    """The broker and the worker. Parts with the same settings share them."""

    def __init__(self) -> None:
        self._task_queue: TaskQueue | None = None
        self._settings: ServerSettings | None = None
        self._stack = AsyncExitStack()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def serve(self, settings: ServerSettings) -> "TaskQueue":
        """Return the running queue if its settings match, otherwise start a new one."""
        from fastbg.services.queue import TaskQueue

        if self._task_queue is None or self._settings != settings:
            await self.stop()
            self._task_queue = await self._stack.enter_async_context(TaskQueue(settings))
            self._settings = settings
        return self._task_queue

    async def signal(self, to: str, number: signal.Signals) -> None:
        if self._task_queue is not None:
            await self._task_queue.signal(to, number)
