"""An app that uses background tasks in every possible way, for `tests.recorder.test_middleware`."""

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

app = FastAPI()
released = threading.Event()
overlap_may_end = asyncio.Event()


def work() -> None:
    pass


async def async_work() -> None:
    await asyncio.sleep(0)


def fail() -> None:
    raise ValueError("no\nmore")


def sleep(seconds: float) -> None:
    time.sleep(seconds)


async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251  # the mistake under test


async def block_until(path: str) -> None:
    while not Path(path).exists():  # noqa: ASYNC240
        time.sleep(0.002)  # noqa: ASYNC251


async def block_twice(seconds: float) -> None:
    await asyncio.sleep(0)
    time.sleep(seconds)  # noqa: ASYNC251
    await asyncio.sleep(seconds)
    time.sleep(seconds)  # noqa: ASYNC251


class Mailer:
    def send(self) -> None:
        pass

    async def __call__(self) -> None:
        pass


@app.get("/two")
async def two(tasks: BackgroundTasks) -> str:
    tasks.add_task(work)
    tasks.add_task(async_work)
    return "two"


@app.get("/from-thread")
def from_thread(tasks: BackgroundTasks) -> str:
    tasks.add_task(work)
    return "from a thread"


def dependency(tasks: BackgroundTasks) -> None:
    tasks.add_task(work)


@app.get("/http-exception", dependencies=[Depends(dependency)])
async def http_exception() -> None:
    raise HTTPException(404)


@app.get("/invalid", dependencies=[Depends(dependency)])
async def invalid(number: int) -> int:
    return number


@app.get("/crash", dependencies=[Depends(dependency)])
async def crash() -> None:
    raise KeyError("crash")


@app.get("/own-response", dependencies=[Depends(dependency)])
async def own_response() -> Response:
    return JSONResponse("own", background=BackgroundTask(async_work))


@app.get("/unattached")
async def unattached() -> str:
    StarletteTasks().add_task(work)
    return "nobody starts it"


@app.get("/failing")
async def failing(tasks: BackgroundTasks) -> str:
    tasks.add_task(work)
    tasks.add_task(fail)
    tasks.add_task(async_work)
    return "failing"


@app.get("/names")
async def names(tasks: BackgroundTasks) -> str:
    for function in (
        functools.partial(sleep, 0),
        functools.partial(functools.partial(block), 0),
        Mailer().send,
        Mailer(),
        lambda: None,
        dict,
    ):
        tasks.add_task(function)
    return "names"


@app.get("/adds-more")
async def adds_more(tasks: BackgroundTasks) -> str:
    tasks.add_task(lambda: tasks.add_task(work))
    return "a task adds a task"


@app.get("/nested")
async def nested() -> Response:
    inner = StarletteTasks([BackgroundTask(work), BackgroundTask(fail)])
    outer = StarletteTasks([inner])
    outer.add_task(async_work)
    return PlainTextResponse("nested", background=outer)


@app.get("/blocks-twice")
async def blocks_twice(seconds: float, tasks: BackgroundTasks) -> str:
    inner = BackgroundTasks()
    inner.add_task(block_twice, seconds)
    tasks.add_task(inner)
    tasks.add_task(sleep, seconds)
    tasks.add_task(asyncio.sleep, seconds)
    return "blocks twice"


@app.get("/collection-as-task")
async def collection_as_task(tasks: BackgroundTasks) -> str:
    inner = BackgroundTasks()
    inner.add_task(work)
    tasks.add_task(inner)
    return "a collection is a callable"


@app.get("/twice")
async def twice() -> Response:
    task = BackgroundTask(work)
    return PlainTextResponse("twice", background=StarletteTasks([task, task]))


@app.get("/awaited")
async def awaited() -> str:
    await asyncio.gather(BackgroundTask(work)(), BackgroundTask(async_work)())
    return "the app runs them itself"


own_tasks = set[asyncio.Task[None]]()


@app.get("/overlapping")
async def overlapping() -> str:
    started = asyncio.Event()

    async def overlap() -> None:
        started.set()
        await overlap_may_end.wait()

    overlap_may_end.clear()
    own_tasks.add(asyncio.create_task(BackgroundTask(overlap)()))
    await started.wait()
    return "a task runs since before this response"


@app.get("/end-overlap")
async def end_overlap() -> None:
    overlap_may_end.set()


@app.get("/not-awaited")
async def not_awaited() -> str:
    own_tasks.add(asyncio.create_task(BackgroundTask(work)()))
    await asyncio.sleep(0)
    return "the app starts it itself, and does not wait for it"


@app.get("/cancel")
async def cancel() -> str:
    while own_tasks:
        own_tasks.pop().cancel()
    return "all cancelled"


@app.get("/streaming")
async def streaming(tasks: BackgroundTasks) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"chunk"

    tasks.add_task(work)
    return StreamingResponse(chunks())


@app.get("/endless")
async def endless() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"chunk"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks(), background=BackgroundTask(work))


@app.get("/big")
async def big(size: int) -> Response:
    return Response(b"x" * size, background=BackgroundTask(async_work))


@app.get("/blocking")
async def blocking(until: str) -> Response:
    return PlainTextResponse("blocking", background=BackgroundTask(block_until, until))


@app.get("/long")
async def long(tasks: BackgroundTasks) -> str:
    released.clear()
    tasks.add_task(released.wait)
    return "until released"


@app.get("/release")
async def release() -> str:
    released.set()
    return "released"


@app.get("/one-thread")
async def one_thread() -> str:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 1
    return "one thread for all"


@app.get("/all-threads")
async def all_threads() -> str:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 40
    return "as always"


@app.get("/writes/{path:path}")
async def writes(path: str, tasks: BackgroundTasks) -> str:
    def append() -> None:
        with open(path, "a") as file:
            file.write("text")

    append()
    tasks.add_task(append)
    return "once before, once after"


async def starlette(request: Request) -> Response:
    return PlainTextResponse("starlette", background=BackgroundTask(work))


async def pass_through(request: Request, call_next: RequestResponseEndpoint) -> Any:
    return await call_next(request)


with_middleware = FastAPI()
with_middleware.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)


@with_middleware.get("/two")
async def middleware_two(tasks: BackgroundTasks) -> str:
    return await two(tasks)


@with_middleware.get("/http-exception")
async def middleware_http_exception(tasks: Annotated[None, Depends(dependency)]) -> None:
    raise HTTPException(404)


app.mount("/starlette", Starlette(routes=[Mount("/deep", routes=[Route("/", starlette)])]))
app.mount("/middleware", with_middleware)
