"""Records the background tasks of an ASGI app in a journal, without a change to the app.

`Recorder` is an ASGI app around the user's app, and records each request, its response and its end. The wrappers of
`instrument` record the tasks; `request_record.current_request` is the request that they belong to.
"""

from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.clock import monotonic_ns
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import loop_blocked, recording_started, shutdown
from fastbg.recorder.loop_watch import BlockedLoop, LoopWatch
from fastbg.recorder.request_record import RequestRecord, current_request
from fastbg.recorder.task_record import TaskRecord
from fastbg.recorder.unfinished import Unfinished, unfinished_request, unfinished_task

_RECORDED = "fastbg.recorded"  # in the scope: a recorder inside of another one does nothing


class Recorder:
    """An ASGI app that records the requests of ``app`` in ``journal``, with the sizes of ``files`` at each response.

    ``all_sizes``: also for clients that send no id. It costs some microseconds per file and request. ``announce``: call
    `announce` by itself when it is first used.

    Call `instrument.install`, too: otherwise the tasks are not recorded. Other scopes than "http" are passed through;
    for "lifespan" the shutdown is recorded.
    """

    def __init__(
        self,
        app: ASGIApp,
        journal: Journal,
        files: Iterable[Path] = (),
        *,
        all_sizes: bool = False,
        announce: bool = False,
    ) -> None:
        self.app = app
        self.journal = journal
        self._files = [str(path) for path in files]
        self._all_sizes = all_sizes
        self._has_announced = not announce
        self._requests: set[RequestRecord] = set()
        self._detached: set[TaskRecord] = set()  # tasks that run in, or wait for, a thread after the app's call
        self._since_ns = monotonic_ns()
        self._passed_on: set[int] = set()  # ids of the scopes of open WebSockets
        serving = (Recorder.__call__.__code__, Recorder._pass_on.__code__)
        self._watch = LoopWatch(serving, self._is_busy, journal.flush, self._write_blocked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _RECORDED in scope:
            return await self.app(scope, receive, send)
        scope[_RECORDED] = True
        if not self._has_announced:
            self.announce(None)
        if scope["type"] != "http":
            return await self._pass_on(scope, receive, send)
        journal = self.journal
        received_ns = journal.check()
        request = RequestRecord(scope, journal, received_ns, self._files, self._detached, self._all_sizes)
        self._requests.add(request)
        token = current_request.set(request)
        if self._watch.thread is None:
            self._watch.start()
        try:
            request.call = call = self.app(scope, receive, request.response.watch(send))
            await call
        except BaseException as error:
            request.finish(error)
            raise
        else:
            try:
                if request.made is not None and request.made.has_any:
                    await request.made.wait()
            finally:  # a server that shuts down may cancel the wait
                request.finish(None)
        finally:
            current_request.reset(token)
            self._requests.discard(request)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, self._until_shutdown(receive), send)
        self._passed_on.add(id(scope))
        if self._watch.thread is None:
            self._watch.start()
        try:
            await self.app(scope, receive, send)
        finally:
            self._passed_on.discard(id(scope))

    def announce(self, server: str | None) -> None:
        """Record that this process records. ``server``: the name of its package, None to find it."""
        self._has_announced = True
        self.journal.check()
        self.journal.write(recording_started(server))

    def close(self) -> None:
        """End the thread of the recorder. The event loop must still run, or have ended."""
        self._watch.close()

    def _is_busy(self) -> bool:
        return bool(self._requests or self._passed_on)

    def _write_blocked(self, blocked: BlockedLoop) -> None:
        request, scope = blocked.variables.get("request"), blocked.variables.get("scope", {})
        self.journal.write(
            loop_blocked(
                request and request.text, ms=blocked.ms, task=None, place=blocked.place, path=scope.get("path", "")
            )
        )

    def unfinished(self) -> list[Unfinished]:
        """Return the tasks that are queued or running, and the other requests; those that run longest first.

        May be called in any thread, and in a signal handler.
        """
        tasks, requests = set(self._detached), []
        for request in list(self._requests):
            open_tasks = [task for task in list(request.tasks.values()) if not task.ended]
            tasks.update(open_tasks)
            if not open_tasks:
                requests.append(request)
        found = [(task, unfinished_task(task)) for task in tasks]
        # The thread of a task that has ended meanwhile may be in another task.
        still = [each for task, each in found if not task.ended]
        still += [unfinished_request(request) for request in requests if not request.has_ended]
        return sorted(still, key=lambda each: (each.since_ns is None, each.since_ns or 0))

    def shut_down(self, *, waits: bool = False) -> list[Unfinished]:
        """Record the shutdown if tasks or requests are `unfinished`, and return them. ``waits``: the server does.

        The kernel has all events then.
        """
        found = self.unfinished()
        tasks = [each.task for each in found if each.task is not None]
        if found:
            self.journal.write(
                shutdown(
                    unfinished=len(tasks),
                    requests=len(found) - len(tasks),
                    tasks=tasks,
                    since_ns=self._since_ns,
                    waits=waits,
                )
            )
        self.journal.flush()
        return found

    def _until_shutdown(self, receive: Receive) -> Receive:
        async def recorded() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.shut_down()
            return message

        return recorded
