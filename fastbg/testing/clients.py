"""HTTP clients for a server under test, and replies that know their background tasks.

Each request uses its own connection and closes it after the response. So a request cannot cut off another response.
"""

import ssl
from collections.abc import Callable, Coroutine, Mapping
from functools import cache, wraps
from time import sleep
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, cast

import anyio.to_thread
import httpx

from fastbg.events import Event, Verdict
from fastbg.evidence.expectations import is_called
from fastbg.evidence.tasks import Task
from fastbg.evidence.verdict import Judgement
from fastbg.recorder.request_ids import add_ids
from fastbg.testing.request_log import ObservedRequest, RequestLog, last_part
from fastbg.text import escape_control

AsyncReplyCoroutine: TypeAlias = "Coroutine[Any, Any, AsyncReply]"

NO_KEEPALIVE = httpx.Limits(max_keepalive_connections=0)

P = ParamSpec("P")
T = TypeVar("T")


class Reply(httpx.Response):
    """An `httpx.Response` whose background tasks may still run.

    Properties about the tasks wait until the server has finished the request and all of its tasks. If a task does not
    end within the timeout, the test fails.
    """

    def __init__(self, response: httpx.Response, observed: ObservedRequest) -> None:
        super().__init__(
            response.status_code, headers=response.headers, stream=response.stream, extensions=response.extensions
        )
        self._observed = observed

    def __repr__(self) -> str:
        return f"<Reply [{self.status_code} {self.reason_phrase}] to {self._observed.trace.name}>"

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the server has finished the request. ``timeout``: in seconds; the default is that of the test.

        Raises `AssertionError` with the names of the unfinished tasks, or with the reason why the server died.
        """
        __tracebackhide__ = True
        for pause_s in self._observed.pauses(timeout):
            sleep(pause_s)
        return self

    def _settle(self) -> ObservedRequest:
        __tracebackhide__ = True
        self.wait()
        return self._observed

    @property
    def tasks(self) -> list[Task]:
        """The background tasks of the request in the order of queueing."""
        __tracebackhide__ = True
        return self._settle().trace.tasks

    @property
    def ran(self) -> list[str]:
        """The function names of the finished tasks in the order of their start: ``["send_mail"]``."""
        __tracebackhide__ = True
        tasks = [task for task in self.tasks if task.state == "finished"]
        return [last_part(task.name) for task in sorted(tasks, key=lambda task: task.started_ns or 0)]

    @property
    def failed(self) -> list[str]:
        """The function names of the tasks that raised."""
        __tracebackhide__ = True
        return self._names_in_state("failed")

    @property
    def dropped(self) -> list[str]:
        """The function names of the tasks that were queued and never started."""
        __tracebackhide__ = True
        return self._names_in_state("dropped")

    def _names_in_state(self, state: str) -> list[str]:
        __tracebackhide__ = True
        return [last_part(task.name) for task in self.tasks if task.state == state]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the order of response and tasks, such as "response-first": see `fastbg explain verdicts`."""
        __tracebackhide__ = True
        return self._settle().judgement().verdict

    @property
    def events(self) -> list[Event]:
        """All events of the request, from the client and the server, ordered by time."""
        __tracebackhide__ = True
        return sorted(self._settle().trace.events, key=lambda event: event.t_ns)

    def came_before(self, task: str) -> bool:
        """Return True if the server provably sent this response before ``task`` started, and ``task`` finished.

        ``task``: the function's name, or a longer end of ``module.qualname``. Raises `AssertionError` with the reason
        if there is no proof.
        """
        __tracebackhide__ = True
        judgement = self._with_task(task).judgement(task)
        return _require(judgement, f"the response came before {task}", "response-first")

    def did_not_wait_for(self, task: str) -> bool:
        """Return True if the server provably had sent this response before ``task`` ended, also if it had started.

        ``task``: as for `came_before`. It may have failed. Raises `AssertionError` with the reason without a proof.
        """
        __tracebackhide__ = True
        judgement = self._with_task(task).order(task)
        return _require(judgement, f"the response did not wait for {task}", "response-first", "overlapping")

    def _with_task(self, task: str) -> ObservedRequest:
        __tracebackhide__ = True
        observed = self._settle()
        named = [other.name for other in observed.trace.tasks]
        if not any(is_called(name, task) for name in named):
            error = observed.trace.error
            why = f"; the app raised {error}" if error else ""
            raise AssertionError(
                escape_control(f"task {task} was not queued; queued tasks: {', '.join(named) or 'none'}{why}")
            )
        return observed


def _require(judgement: Judgement, claim: str, *proofs: Verdict) -> bool:
    """Return True if the verdict is one of ``proofs`` of the ``claim``. Raises `AssertionError` with the reason."""
    __tracebackhide__ = True
    if judgement.verdict not in proofs:
        why = f"{judgement.verdict} ({judgement.reason})"
        raise AssertionError(escape_control(f"no proof that {claim}: {why}"))
    return True


class AsyncReply(Reply):
    """A `Reply` to an `AsyncClient`: ``await reply.wait()`` before reading anything about the tasks."""

    _awaited = False

    async def wait(self, timeout: float | None = None) -> Self:  # type: ignore[override]  # noqa: ASYNC109  # as Reply's
        """Wait as `Reply.wait` does, without blocking the event loop."""
        __tracebackhide__ = True
        for pause_s in self._observed.pauses(timeout):
            await anyio.to_thread.run_sync(sleep, pause_s)  # `anyio.sleep` would not end under freezegun
        self._awaited = True
        return self

    def _settle(self) -> ObservedRequest:
        __tracebackhide__ = True
        if not self._awaited:
            raise RuntimeError("the tasks may still run: call `await reply.wait()` first")
        return self._observed


@cache
def _certificates() -> ssl.SSLContext:
    """Load the certificates once, for requests to other servers: loading takes longer than a request."""
    return httpx.create_ssl_context()


def _outgoing(request: httpx.Request, request_log: RequestLog) -> tuple[httpx.Request, ObservedRequest]:
    """Copy ``request``, add its id, and record it in ``request_log``."""
    observed = request_log.add(request.method, str(request.url), request.url.path)
    headers = request.headers.copy()
    add_ids(headers, observed.trace.request_id)
    sent = httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )
    return sent, observed


class _Transport(httpx.HTTPTransport):
    def __init__(self, request_log: RequestLog, verify: ssl.SSLContext) -> None:
        unix_socket = request_log.server.address.unix_socket
        super().__init__(verify=verify, trust_env=False, limits=NO_KEEPALIVE, uds=unix_socket)
        self._request_log = request_log

    def handle_request(self, request: httpx.Request) -> Reply:
        sent, observed = _outgoing(request, self._request_log)
        user_trace = request.extensions.get("trace")

        def trace(phase: str, info: Mapping[str, Any]) -> None:
            observed.add_phase(phase, info)
            if user_trace is not None:
                user_trace(phase, info)

        sent.extensions["trace"] = trace
        return Reply(super().handle_request(sent), observed)


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, request_log: RequestLog, verify: ssl.SSLContext) -> None:
        unix_socket = request_log.server.address.unix_socket
        super().__init__(verify=verify, trust_env=False, limits=NO_KEEPALIVE, uds=unix_socket)
        self._request_log = request_log

    async def handle_async_request(self, request: httpx.Request) -> AsyncReply:
        sent, observed = _outgoing(request, self._request_log)
        user_trace = request.extensions.get("trace")

        async def trace(phase: str, info: Mapping[str, Any]) -> None:
            observed.add_phase(phase, info)
            if user_trace is not None:
                await user_trace(phase, info)

        sent.extensions["trace"] = trace
        return AsyncReply(await super().handle_async_request(sent), observed)


def _mounts(request_log: RequestLog, transport: Callable[[RequestLog, ssl.SSLContext], T]) -> dict[str, T]:
    """Return a transport for the server under test that does not check its certificate: the server has no name."""
    url = request_log.server.address.url
    return {url: transport(request_log, httpx.create_ssl_context(verify=False))} if url.startswith("https:") else {}


class NoResponse(AssertionError):
    """The server died before it sent a response; the message says how."""


NO_RESPONSE_ERRORS = (NoResponse, httpx.TransportError)
CONNECTION_ERRORS = (httpx.NetworkError, httpx.RemoteProtocolError)


def _returns_reply(method: Callable[P, httpx.Response]) -> Callable[P, Reply]:
    """Type a client method as returning `Reply`, and remove httpx's frames from the traceback of its errors."""

    @wraps(method)
    def call(*args: P.args, **options: P.kwargs) -> Reply:
        __tracebackhide__ = True
        try:
            return cast(Reply, method(*args, **options))
        except NO_RESPONSE_ERRORS as error:
            raise error.with_traceback(None) from None

    return call


def _returns_async_reply(method: Callable[P, Coroutine[Any, Any, httpx.Response]]) -> Callable[P, AsyncReplyCoroutine]:
    """Do the same as `_returns_reply` for an `AsyncClient`."""

    @wraps(method)
    async def call(*args: P.args, **options: P.kwargs) -> AsyncReply:
        __tracebackhide__ = True
        try:
            return cast(AsyncReply, await method(*args, **options))
        except NO_RESPONSE_ERRORS as error:
            raise error.with_traceback(None) from None

    return call


class Client(httpx.Client):
    """An `httpx.Client` for the server of ``request_log``. It returns a reply while its tasks may still run."""

    def __init__(self, request_log: RequestLog) -> None:
        super().__init__(
            base_url=request_log.server.address.url,
            timeout=request_log.limit_s,
            transport=_Transport(request_log, _certificates()),
            mounts=_mounts(request_log, _Transport),
            trust_env=False,
        )
        self.request_log = request_log

    @property
    def events(self) -> list[Event]:
        """All events of the server since the test started, including those of other clients' requests."""
        return self.request_log.events

    def send(self, request: httpx.Request, **options: Any) -> Reply:
        """Send as `httpx.Client.send` does. Raises `NoResponse` if the server died meanwhile."""
        __tracebackhide__ = True
        try:
            return cast(Reply, super().send(request, **options))
        except CONNECTION_ERRORS:
            if reason := self.request_log.death_reason():
                raise NoResponse(reason) from None
            raise

    request = _returns_reply(httpx.Client.request)
    get = _returns_reply(httpx.Client.get)
    options = _returns_reply(httpx.Client.options)
    head = _returns_reply(httpx.Client.head)
    post = _returns_reply(httpx.Client.post)
    put = _returns_reply(httpx.Client.put)
    patch = _returns_reply(httpx.Client.patch)
    delete = _returns_reply(httpx.Client.delete)


class AsyncClient(httpx.AsyncClient):
    """A `Client` for a test in an event loop. It keeps no connection open, so it does not have to be closed."""

    def __init__(self, request_log: RequestLog) -> None:
        super().__init__(
            base_url=request_log.server.address.url,
            timeout=request_log.limit_s,
            transport=_AsyncTransport(request_log, _certificates()),
            mounts=_mounts(request_log, _AsyncTransport),
            trust_env=False,
        )
        self.request_log = request_log

    @property
    def events(self) -> list[Event]:
        """All events of the server since the test started, as `Client.events`."""
        return self.request_log.events

    async def send(self, request: httpx.Request, **options: Any) -> AsyncReply:
        """Send as `httpx.AsyncClient.send` does. Raises `NoResponse` if the server died meanwhile."""
        __tracebackhide__ = True
        try:
            return cast(AsyncReply, await super().send(request, **options))
        except CONNECTION_ERRORS:
            if reason := self.request_log.death_reason():
                raise NoResponse(reason) from None
            raise

    request = _returns_async_reply(httpx.AsyncClient.request)
    get = _returns_async_reply(httpx.AsyncClient.get)
    options = _returns_async_reply(httpx.AsyncClient.options)
    head = _returns_async_reply(httpx.AsyncClient.head)
    post = _returns_async_reply(httpx.AsyncClient.post)
    put = _returns_async_reply(httpx.AsyncClient.put)
    patch = _returns_async_reply(httpx.AsyncClient.patch)
    delete = _returns_async_reply(httpx.AsyncClient.delete)
