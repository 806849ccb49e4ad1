"""The app of `tests.truth`. It marks in the kernel's trace when a task starts, and for which request it writes.

``X-Request-ID`` names the request in the trace and in the log.
"""

import asyncio
import os
import random
import threading
import time
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Header, Response
from starlette.background import BackgroundTask

from tests.truth.kernel import LOG_FD

app = FastAPI()
MARKER = os.open(os.environ["TRUTH_MARKER"], os.O_WRONLY | os.O_CLOEXEC)
os.dup2(os.open("log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), LOG_FD, inheritable=False)

RequestId = Annotated[str, Header(alias="x-request-id")]


def append(request_id: str) -> None:
    os.write(MARKER, f"write {request_id}".encode())
    os.write(LOG_FD, f"{request_id}\n".encode())


def in_thread(request_id: str, work: float) -> None:
    os.write(MARKER, f"start {request_id}".encode())
    if work:
        time.sleep(work)
    append(request_id)


async def in_loop(request_id: str, work: float) -> None:
    os.write(MARKER, f"start {request_id}".encode())
    if work:
        await asyncio.sleep(work)
    append(request_id)


@app.post("/thread")
async def thread(request_id: RequestId, tasks: BackgroundTasks, work: float = 0) -> str:
    tasks.add_task(in_thread, request_id, work)
    return "a task in a thread"


@app.post("/loop")
async def loop(request_id: RequestId, tasks: BackgroundTasks, work: float = 0) -> str:
    tasks.add_task(in_loop, request_id, work)
    return "a task in the loop"


@app.post("/foreground")
def foreground(request_id: RequestId, work: float = 0) -> str:
    in_thread(request_id, work)
    return "no task"


@app.post("/big")
async def big(request_id: RequestId, size: int) -> Response:
    return Response(b"x" * size, background=BackgroundTask(in_thread, request_id, 0))


started = set[asyncio.Task[None]]()


@app.post("/racing")
async def racing(request_id: RequestId, most: float) -> str:
    """Start a task without Starlette. It may end before, during or after sending the response."""
    task = asyncio.create_task(BackgroundTask(in_thread, request_id, 0)())
    started.add(task)
    task.add_done_callback(started.discard)
    await asyncio.sleep(random.uniform(0, most))
    return "a task at the same time"


@app.post("/stray")
async def stray(request_id: RequestId, most: float, tasks: BackgroundTasks) -> str:
    """Start a thread that writes before, during or after sending the response, and queue a task that does not write."""
    threading.Thread(target=append_soon, args=(request_id, random.uniform(0, most))).start()
    tasks.add_task(len, "")
    return "a thread at the same time"


def append_soon(request_id: str, seconds: float) -> None:
    time.sleep(seconds)
    append(request_id)
