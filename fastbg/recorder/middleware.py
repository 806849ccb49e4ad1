"""Records the background tasks of an ASGI app in a journal, without a change to the app.

`Recorder` is an ASGI app around the user's app, and records each request, its response and its end. The wrappers of
`instrument` record the tasks; `request_record.current_request` is the request that they belong to.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastbg.recorder.file_sizes import sizes_of
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import shutdown
from fastbg.recorder.request_record import RequestRecord, current_request
from fastbg.recorder.task_record import TaskRecord


class Recorder:
    """An ASGI app that records the requests of ``app`` in ``journal``, with the sizes of ``files`` at each response.

    ``all_sizes``: also for clients that send no id. It costs some microseconds per file and request.

    Call `instrument.install`, too: otherwise the tasks are not recorded. Other scopes than "http" are passed through;
    for "lifespan" the shutdown is recorded.
    """

    def __init__(self, app: ASGIApp, journal: Journal, files: Iterable[Path] = (), *, all_sizes: bool = False) -> None:
        self.app = app
        self.journal = journal
        self._sizes = functools.partial(sizes_of, [str(path) for path in files])
        self._all_sizes = all_sizes
        self._requests: set[RequestRecord] = set()
        self._detached: set[TaskRecord] = set()  # tasks that run in, or wait for, a thread after the app's call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, self._until_shutdown(receive), send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        self.journal.check()
        request = RequestRecord(scope, self.journal, self._sizes, self._detached, all_sizes=self._all_sizes)
        self._requests.add(request)
        token = current_request.set(request)
        try:
            await self.app(scope, receive, request.response.watch(send))
        except BaseException as error:
            request.finish(error)
            raise
        else:
            if request.made.has_any:
                await request.made.wait()
            request.finish(None)
        finally:
            current_request.reset(token)
            self._requests.discard(request)

    @property
    def unfinished(self) -> int:
        tasks = [task for request in list(self._requests) for task in list(request.tasks.values())]
        return sum(not task.ended for task in tasks) + len(self._detached)

    def shut_down(self) -> int:
        """Record the shutdown if tasks are queued or running, and return their number."""
        unfinished = self.unfinished
        if unfinished:
            self.journal.write(shutdown(unfinished=unfinished))
        return unfinished

    def _until_shutdown(self, receive: Receive) -> Receive:
        async def recorded() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.shut_down()
            return message

        return recorded
