"""The app of `tests.truth`: one route per shape of `tests.truth.shapes`. It marks in the kernel's trace what it does.

``X-Request-ID`` names the request in the trace and in the log. ``work``: seconds that a task takes.
"""

import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as Collection
from starlette.middleware.base import RequestResponseEndpoint
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.truth.kernel import LOG_FD

BLOCK = 64 * 1024  # bytes that `FileResponse` reads at once

web = FastAPI()
MARKER = os.open(os.environ["TRUTH_MARKER"], os.O_WRONLY | os.O_CLOEXEC)
os.dup2(os.open("log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), LOG_FD, inheritable=False)
FILE = Path("two-blocks.bin")
FILE.write_bytes(b"x" * 2 * BLOCK)

RequestId = Annotated[str, Header(alias="x-request-id")]


def mark(kind: str, request_id: str, name: object = "") -> None:
    os.write(MARKER, f"{kind} {request_id} {name}".encode())


def append(request_id: str, name: str = "0") -> None:
    mark("write", request_id)
    os.write(LOG_FD, f"{request_id} {name}\n".encode())


def in_thread(request_id: str, work: float = 0, name: str = "0") -> None:
    mark("start", request_id, name)
    if work:
        time.sleep(work)
    append(request_id, name)
    mark("end", request_id, name)


async def in_loop(request_id: str, work: float = 0, name: str = "0") -> None:
    mark("start", request_id, name)
    if work:
        await asyncio.sleep(work)
    append(request_id, name)
    mark("end", request_id, name)


async def blocking_loop(request_id: str, work: float) -> None:
    in_thread(request_id, work)  # the mistake: it blocks the event loop


def fails(request_id: str) -> None:
    mark("start", request_id, "0")
    raise ValueError("the task fails")


def returns_coroutine(request_id: str) -> Any:
    mark("start", request_id, "0")
    return in_loop(request_id)


class OwnCall(BackgroundTask):
    """A task with its own ``__call__``."""

    async def __call__(self) -> None:
        request_id = str(self.args[0])
        mark("called", request_id)
        await asyncio.sleep(0)
        await self.func(*self.args, **self.kwargs)
        mark("returned", request_id)


started = set[asyncio.Task[None]]()


def start(task: BackgroundTask, request_id: str) -> None:
    """Start a task that nothing waits for."""

    async def run() -> None:
        mark("called", request_id)
        await task()
        mark("returned", request_id)

    running = asyncio.create_task(run())
    started.add(running)
    running.add_done_callback(started.discard)


# Tasks, behind a short response


@web.api_route("/thread", methods=["GET", "POST", "HEAD"])
async def thread(request_id: RequestId, tasks: BackgroundTasks, work: float = 0) -> str:
    tasks.add_task(in_thread, request_id, work)
    return "a task in a thread"


@web.api_route("/loop", methods=["GET", "POST", "HEAD"])
async def loop(request_id: RequestId, tasks: BackgroundTasks, work: float = 0) -> str:
    tasks.add_task(in_loop, request_id, work)
    return "a task in the loop"


@web.post("/blocking")
async def blocking(request_id: RequestId, tasks: BackgroundTasks, work: float) -> str:
    tasks.add_task(blocking_loop, request_id, work)
    return "a task that blocks the loop"


@web.post("/two")
async def two(request_id: RequestId, tasks: BackgroundTasks, work: float = 0) -> str:
    tasks.add_task(in_loop, request_id, work, "0")
    tasks.add_task(in_thread, request_id, work, "1")
    return "two tasks"


@web.post("/collection")
async def collection(request_id: RequestId) -> Response:
    tasks = [BackgroundTask(in_thread, request_id, name="0"), BackgroundTask(in_loop, request_id, name="1")]
    return JSONResponse("a collection", background=Collection(tasks))


@web.post("/subclass")
async def subclass(request_id: RequestId, work: float = 0) -> Response:
    return JSONResponse("a subclass", background=OwnCall(in_loop, request_id, work))


@web.post("/callable")
async def plain_callable(request_id: RequestId, work: float = 0) -> Response:
    async def run() -> None:
        await in_loop(request_id, work)

    return JSONResponse("a plain callable", background=run)  # type: ignore[arg-type]  # Starlette calls it all the same


@web.post("/inline")
async def inline(request_id: RequestId, work: float = 0) -> str:
    await BackgroundTask(in_thread, request_id, work)()
    return "a task that the app awaits itself"


@web.post("/inline-and-after")
async def inline_and_after(request_id: RequestId, tasks: BackgroundTasks) -> str:
    await BackgroundTask(in_loop, request_id, name="0")()
    tasks.add_task(in_thread, request_id, 0.02, "1")
    return "one task before the response, one after it"


@web.post("/racing")
async def racing(request_id: RequestId, most: float) -> str:
    """Start a task that may end before, during or after sending the response."""
    start(BackgroundTask(in_thread, request_id), request_id)
    await asyncio.sleep(random.uniform(0, most))
    return "a task at the same time"


@web.post("/overlapping")
async def overlapping(request_id: RequestId, work: float, wait: float) -> str:
    """Start a task that takes longer than the response. ``wait``: seconds before the response."""
    start(BackgroundTask(in_thread, request_id, work), request_id)
    await asyncio.sleep(wait)
    return "a task since before the response"


@web.post("/failing")
async def failing(request_id: RequestId, tasks: BackgroundTasks) -> str:
    tasks.add_task(fails, request_id)
    return "a task that fails"


@web.post("/coroutine")
async def coroutine(request_id: RequestId, tasks: BackgroundTasks) -> str:
    tasks.add_task(returns_coroutine, request_id)
    return "a task that returns a coroutine"


@web.post("/dropped")
async def dropped(request_id: RequestId, tasks: BackgroundTasks) -> str:
    tasks.add_task(in_thread, request_id)
    raise HTTPException(409)


@web.post("/made")
async def made(request_id: RequestId) -> str:
    BackgroundTask(in_thread, request_id)
    return "a task that is made and not called"


def add_after_yield(request_id: RequestId, tasks: BackgroundTasks) -> Iterator[None]:
    yield
    tasks.add_task(in_thread, request_id)


@web.post("/after-yield", dependencies=[Depends(add_after_yield)])
async def after_yield() -> str:
    return "a task that is queued after the response"


@web.post("/queued-late")
async def queued_late(request_id: RequestId, tasks: BackgroundTasks) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.sleep(0)  # some servers tell Starlette here that the client has left, and it cancels the rest
        tasks.add_task(in_thread, request_id)
        mark("made", request_id)

    return StreamingResponse(body(), headers={"content-length": "1000"}, background=tasks)


# Work without a task


@web.post("/foreground")
def foreground(request_id: RequestId, work: float = 0) -> str:
    time.sleep(work)
    append(request_id)
    return "no task"


@web.post("/stray")
async def stray(request_id: RequestId, most: float, tasks: BackgroundTasks) -> str:
    """Start a thread that writes before, during or after sending the response, and queue a task that does not write."""
    threading.Thread(target=append_soon, args=(request_id, random.uniform(0, most))).start()
    tasks.add_task(writes_nothing, request_id)
    return "a thread at the same time"


def append_soon(request_id: str, seconds: float) -> None:
    time.sleep(seconds)
    append(request_id)


def writes_nothing(request_id: str) -> None:
    mark("start", request_id, "0")
    mark("end", request_id, "0")


@web.api_route("/download", methods=["GET", "HEAD"])
async def download(request_id: RequestId, work: float = 0) -> Response:
    """Write after the last byte that the announced length allows, and before the last message."""

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"x" * 1000
        finally:
            if work:
                await asyncio.sleep(work)
            append(request_id)

    return StreamingResponse(body(), headers={"content-length": "1000"})


wrapped_body = FastAPI()


@wrapped_body.middleware("http")
async def write_after_body(request: Request, call_next: RequestResponseEndpoint) -> Any:
    response: Any = await call_next(request)
    pieces = response.body_iterator

    async def body() -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
        append(request.headers["x-request-id"])

    response.body_iterator = body()
    return response


@wrapped_body.get("/short")
@wrapped_body.get("/task")
async def wrapped(request: Request, request_id: RequestId, tasks: BackgroundTasks) -> str:
    if request.url.path.endswith("/task"):
        tasks.add_task(in_thread, request_id, 0.02, "1")
    return "the middleware writes"


class WriteAfterBody:
    """An ASGI middleware that sends the last byte, writes, and then sends the last message."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await asyncio.sleep(0)
                append(request_id_of(scope))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await send(message)

        await self.app(scope, receive, watched)


wrapped_send = FastAPI()
wrapped_send.add_middleware(WriteAfterBody)


@wrapped_send.get("/short")
async def wrapped_in_asgi() -> str:
    return "the middleware writes"


web.mount("/wrapped-body", wrapped_body)
web.mount("/wrapped-send", wrapped_send)


# Kinds of responses, with a task


@web.get("/empty")
async def empty(request_id: RequestId, status: int, work: float = 0) -> Response:
    return Response(status_code=status, background=BackgroundTask(in_thread, request_id, work))


@web.api_route("/file", methods=["GET", "HEAD"])
async def file(request_id: RequestId, work: float = 0) -> Response:
    return FileResponse(FILE, background=BackgroundTask(in_thread, request_id, work))


@web.get("/chunked")
async def chunked(request_id: RequestId, size: int = 1000, count: int = 3, work: float = 0) -> Response:
    """Send a body without an announced length."""
    return streamed(b"x" * size, count, {}, BackgroundTask(in_thread, request_id, work))


@web.get("/streamed")
async def streamed_with_length(request_id: RequestId, size: int, count: int, work: float = 0) -> Response:
    headers = {"content-length": str(size * count)}
    return streamed(b"x" * size, count, headers, BackgroundTask(in_thread, request_id, work))


@web.get("/fewer")
async def fewer(request_id: RequestId) -> Response:
    return streamed(b"x" * 300, 3, {"content-length": "1000"}, BackgroundTask(in_thread, request_id))


@web.get("/more")
async def more(request_id: RequestId) -> Response:
    return streamed(b"x" * 500, 3, {"content-length": "1000"}, BackgroundTask(in_thread, request_id))


def streamed(piece: bytes, count: int, headers: dict[str, str], task: BackgroundTask) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    return StreamingResponse(body(), headers=headers, background=task)


@web.get("/big")
async def big(request_id: RequestId, size: int, work: float = 0) -> Response:
    return Response(b"x" * size, background=BackgroundTask(in_thread, request_id, work))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve `web`, and first tell the trace which socket the connection of the request is."""
    if scope["type"] == "http" and (request_id := request_id_of(scope)) and scope.get("client"):
        mark("socket", request_id, descriptor_of(int(scope["client"][1])))
    await web(scope, receive, send)


def request_id_of(scope: Scope) -> str:
    return next((value.decode() for name, value in scope["headers"] if name == b"x-request-id"), "")


def descriptor_of(client_port: int) -> int:
    """Return the descriptor of the TCP connection from this port of the client."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            with_peer = socket.socket(fileno=int(entry.name))
        except OSError:  # not a socket, or the descriptor of this list
            continue
        try:
            if with_peer.family == socket.AF_INET and with_peer.getpeername()[1] == client_port:
                return with_peer.fileno()
        except OSError:  # it listens
            continue
        finally:
            with_peer.detach()
    raise RuntimeError(f"no connection from port {client_port}")


def recorded() -> Callable[[Scope, Receive, Send], Any]:
    """Return `app` with the recorder, for servers that fastbg does not start."""
    from fastbg.recorder.instrument import install
    from fastbg.recorder.journal import Journal
    from fastbg.recorder.middleware import Recorder

    install()
    return Recorder(app, Journal(Path("journal.jsonl").absolute()), [Path("log.txt").absolute()])
