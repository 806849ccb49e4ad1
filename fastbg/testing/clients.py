"""HTTP clients of a server that is watched, and replies that know their background tasks.

Each request has a connection of its own, which is closed when the response was read: none can cut off another.
"""

import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, Self, TypeAlias, cast

import anyio
import httpx

from fastbg.events import Event, Verdict
from fastbg.evidence.expectations import is_called
from fastbg.evidence.tasks import Task
from fastbg.testing.request_log import ObservedRequest, RequestLog, last_part
from fastbg.text import escape_control

Later: TypeAlias = "Coroutine[Any, Any, AsyncReply]"

ALONE = httpx.Limits(max_keepalive_connections=0)

P = ParamSpec("P")


class Reply(httpx.Response):
    """An `httpx.Response` that came from a watched server while its background tasks may still run.

    Whatever is asked about the tasks is answered when the server is done with the request, and so with all of them. A
    task that does not end within the time limit fails the test.
    """

    def __init__(self, response: httpx.Response, story: ObservedRequest) -> None:
        super().__init__(
            response.status_code, headers=response.headers, stream=response.stream, extensions=response.extensions
        )
        self._story = story

    def __repr__(self) -> str:
        return f"<Reply [{self.status_code} {self.reason_phrase}] to {self._story.trace.name}>"

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the server is done with the request, at most ``timeout`` seconds, or the test's own limit.

        Raises `AssertionError` that names the tasks which are not, or says how the server died.
        """
        __tracebackhide__ = True
        for pause_s in self._story.pauses(timeout):
            time.sleep(pause_s)
        return self

    def _settle(self) -> ObservedRequest:
        __tracebackhide__ = True
        self.wait()
        return self._story

    @property
    def tasks(self) -> list[Task]:
        """The background tasks of the request in the order in which they were queued."""
        __tracebackhide__ = True
        return self._settle().trace.tasks

    @property
    def ran(self) -> list[str]:
        """The functions of the tasks that ran to their end, in the order in which they started: ``["send_mail"]``."""
        __tracebackhide__ = True
        tasks = [task for task in self.tasks if task.state == "finished"]
        return [last_part(task.name) for task in sorted(tasks, key=lambda task: task.started_ns or 0)]

    @property
    def failed(self) -> list[str]:
        """The functions of the tasks that raised."""
        __tracebackhide__ = True
        return self._in_state("failed")

    @property
    def dropped(self) -> list[str]:
        """The functions of the tasks that were queued and never started."""
        __tracebackhide__ = True
        return self._in_state("dropped")

    def _in_state(self, state: str) -> list[str]:
        __tracebackhide__ = True
        return [last_part(task.name) for task in self.tasks if task.state == state]

    @property
    def verdict(self) -> Verdict:
        """What came first, the response or the tasks: one of the verdicts that `fastbg explain verdicts` lists."""
        __tracebackhide__ = True
        return self._settle().judgement().verdict

    @property
    def events(self) -> list[Event]:
        """All that was seen of the request, by the client and by the server, in this order of time."""
        __tracebackhide__ = True
        return sorted(self._settle().trace.events, key=lambda event: event.t_ns)

    def came_before(self, task: str) -> bool:
        """True if it is proved that this response had left the server before ``task`` started, which then finished.

        ``task``: the function's name, or more of ``module.qualname``. Raises `AssertionError` where it is not proved,
        with the reason.
        """
        __tracebackhide__ = True
        story = self._settle()
        named = [other.name for other in story.trace.tasks]
        if not any(is_called(name, task) for name in named):
            raise AssertionError(
                escape_control(f"no task {task} was queued, only: {', '.join(named) or 'none at all'}")
            )
        judgement = story.judgement(task)
        if judgement.verdict != "response-first":
            why = f"{judgement.verdict} ({judgement.reason})"
            raise AssertionError(escape_control(f"the response did not come before {task}: {why}"))
        return True


class AsyncReply(Reply):
    """A `Reply` to an `AsyncClient`: ``await reply.wait()``, then ask about the tasks."""

    _awaited = False

    async def wait(self, timeout: float | None = None) -> Self:  # type: ignore[override]  # noqa: ASYNC109  # as Reply's
        """As `Reply.wait`; other work of the event loop goes on."""
        __tracebackhide__ = True
        for pause_s in self._story.pauses(timeout):
            await anyio.sleep(pause_s)
        self._awaited = True
        return self

    def _settle(self) -> ObservedRequest:
        __tracebackhide__ = True
        if not self._awaited:
            raise RuntimeError("the tasks may still run: `await reply.wait()` before you ask about them")
        return self._story


@cache
def _certificates() -> ssl.SSLContext:
    """For requests that a test sends elsewhere; to load them takes longer than a request."""
    return httpx.create_ssl_context()


def _outgoing(request: httpx.Request, observation: RequestLog) -> tuple[httpx.Request, ObservedRequest]:
    """A copy of ``request`` under an id that the journal will name, and its story."""
    story = observation.story(request.method, str(request.url), request.url.path, request.headers.get("X-Request-ID"))
    headers = request.headers.copy()
    headers["X-Request-ID"] = story.trace.request_id
    sent = httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )
    return sent, story


class _Transport(httpx.HTTPTransport):
    def __init__(self, observation: RequestLog) -> None:
        super().__init__(verify=_certificates(), trust_env=False, limits=ALONE)
        self._observation = observation

    def handle_request(self, request: httpx.Request) -> Reply:
        sent, story = _outgoing(request, self._observation)
        theirs = request.extensions.get("trace")

        def trace(phase: str, info: Mapping[str, Any]) -> None:
            story.note(phase, info)
            if theirs is not None:
                theirs(phase, info)

        sent.extensions["trace"] = trace
        return Reply(super().handle_request(sent), story)


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, observation: RequestLog) -> None:
        super().__init__(verify=_certificates(), trust_env=False, limits=ALONE)
        self._observation = observation

    async def handle_async_request(self, request: httpx.Request) -> AsyncReply:
        sent, story = _outgoing(request, self._observation)
        theirs = request.extensions.get("trace")

        async def trace(phase: str, info: Mapping[str, Any]) -> None:
            story.note(phase, info)
            if theirs is not None:
                await theirs(phase, info)

        sent.extensions["trace"] = trace
        return AsyncReply(await super().handle_async_request(sent), story)


class NoResponse(AssertionError):
    """The server has died, and how."""


UNANSWERED = (NoResponse, httpx.TransportError)
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)


def _replying(method: Callable[P, httpx.Response]) -> Callable[P, Reply]:
    """``method`` of a client, known to return what our transport makes; a failure does not show httpx's inside."""

    @wraps(method)
    def call(*args: P.args, **options: P.kwargs) -> Reply:
        __tracebackhide__ = True
        try:
            return cast(Reply, method(*args, **options))
        except UNANSWERED as error:
            raise error.with_traceback(None) from None

    return call


def _replying_later(method: Callable[P, Coroutine[Any, Any, httpx.Response]]) -> Callable[P, Later]:
    """As `_replying`, for a client in an event loop."""

    @wraps(method)
    async def call(*args: P.args, **options: P.kwargs) -> AsyncReply:
        __tracebackhide__ = True
        try:
            return cast(AsyncReply, await method(*args, **options))
        except UNANSWERED as error:
            raise error.with_traceback(None) from None

    return call


class Client(httpx.Client):
    """An `httpx.Client` of the server of ``observation``. Its replies come as soon as a client has them."""

    def __init__(self, observation: RequestLog) -> None:
        super().__init__(
            base_url=observation.server.url,
            timeout=observation.limit_s,
            transport=_Transport(observation),
            trust_env=False,
        )
        self.observation = observation

    @property
    def events(self) -> list[Event]:
        """All that the server has told since the test began, of requests by other clients as well."""
        return self.observation.events

    def send(self, request: httpx.Request, **options: Any) -> Reply:
        """As `httpx.Client.send`. Raises `NoResponse` where the connection broke because the server has died."""
        __tracebackhide__ = True
        try:
            return cast(Reply, super().send(request, **options))
        except BROKEN:
            if trouble := self.observation.death():
                raise NoResponse(trouble) from None
            raise

    request = _replying(httpx.Client.request)
    get = _replying(httpx.Client.get)
    options = _replying(httpx.Client.options)
    head = _replying(httpx.Client.head)
    post = _replying(httpx.Client.post)
    put = _replying(httpx.Client.put)
    patch = _replying(httpx.Client.patch)
    delete = _replying(httpx.Client.delete)


class AsyncClient(httpx.AsyncClient):
    """`Client` for a test in an event loop. It holds nothing between requests, and so need not be closed."""

    def __init__(self, observation: RequestLog) -> None:
        super().__init__(
            base_url=observation.server.url,
            timeout=observation.limit_s,
            transport=_AsyncTransport(observation),
            trust_env=False,
        )
        self.observation = observation

    @property
    def events(self) -> list[Event]:
        """As `Client.events`."""
        return self.observation.events

    async def send(self, request: httpx.Request, **options: Any) -> AsyncReply:
        """As `httpx.AsyncClient.send`. Raises `NoResponse` where the connection broke because the server has died."""
        __tracebackhide__ = True
        try:
            return cast(AsyncReply, await super().send(request, **options))
        except BROKEN:
            if trouble := self.observation.death():
                raise NoResponse(trouble) from None
            raise

    request = _replying_later(httpx.AsyncClient.request)
    get = _replying_later(httpx.AsyncClient.get)
    options = _replying_later(httpx.AsyncClient.options)
    head = _replying_later(httpx.AsyncClient.head)
    post = _replying_later(httpx.AsyncClient.post)
    put = _replying_later(httpx.AsyncClient.put)
    patch = _replying_later(httpx.AsyncClient.patch)
    delete = _replying_later(httpx.AsyncClient.delete)
