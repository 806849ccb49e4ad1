"""Writes what happens to the background tasks of an ASGI app to a journal, without a change to the app.

`Recorder` is an ASGI app around the user's: it sees the request, the response and the end. What `instrument` puts into
Starlette's classes sees the tasks; `request_record.current_request` says which request they belong to.
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
    """An ASGI app that records what ``app`` does to ``journal``; the sizes of ``files`` are told with the response.

    Call `instrument.install` as well, or the tasks are not seen. Scopes other than "http" pass through; of "lifespan"
    the shutdown is noted on its way.
    """

    def __init__(self, app: ASGIApp, journal: Journal, files: Iterable[Path] = ()) -> None:
        self.app = app
        self.journal = journal
        self._sizes = functools.partial(sizes_of, [str(path) for path in files])
        self._requests: set[RequestRecord] = set()
        self._outliving: set[TaskRecord] = (
            set()
        )  # in threads, or waiting for one: the app's call does not wait for them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, self._until_shutdown(receive), send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        self.journal.check()
        request = RequestRecord(scope, self.journal, self._sizes, self._outliving)
        self._requests.add(request)
        token = current_request.set(request)
        try:
            await self.app(scope, receive, request.response.watch(send))
        except BaseException as error:
            request.finish(error)
            raise
        else:
            request.finish(None)
        finally:
            current_request.reset(token)
            self._requests.discard(request)

    @property
    def unfinished(self) -> int:
        """How many tasks are queued or running at this moment."""
        tasks = [task for request in list(self._requests) for task in list(request.tasks.values())]
        return sum(not task.ended for task in tasks) + len(self._outliving)

    def shut_down(self) -> int:
        """The server ends: how many tasks are queued or running, which is told to the journal if there are any."""
        unfinished = self.unfinished
        if unfinished:
            self.journal.write(shutdown(unfinished=unfinished))
        return unfinished

    def _until_shutdown(self, receive: Receive) -> Receive:
        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.shut_down()
            return message

        return heard
