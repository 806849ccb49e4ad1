"""An app for scripts with all kinds of requests. Its tasks write, sleep and fail on demand."""

import asyncio
import os
import threading
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response

app = FastAPI()
LOG = Path("log.txt")
last = threading.Lock()


@app.api_route("/echo", methods=["GET", "POST", "PUT"])
async def echo(request: Request, response: Response) -> dict[str, object]:
    """Return the received request."""
    response.set_cookie("session", "s-1")
    response.headers["X-Token"] = "t-1"
    return {
        "method": request.method,
        "query": [list(pair) for pair in request.query_params.multi_items()],
        "headers": dict(request.headers),
        "cookies": request.cookies,
        "body": (await request.body()).decode("latin-1"),
        "item": {"id": 7, "tags": ["a", "b"]},
        "greeting": os.environ.get("GREETING"),
        "folder": Path.cwd().name,
        "pid": os.getpid(),
    }


def write(text: str, times: int = 1) -> None:
    for _ in range(times):
        with LOG.open("a", encoding="utf-8") as log:
            log.write(text)


@app.post("/write")
async def write_later(text: str, tasks: BackgroundTasks, times: int = 1) -> None:
    tasks.add_task(write, text, times)


@app.post("/sleep")
async def sleep_later(seconds: float, text: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(asyncio.sleep, seconds)
    tasks.add_task(write, text)


@app.post("/drop")
async def drop(tasks: BackgroundTasks) -> None:
    tasks.add_task(write, "never\n")
    raise HTTPException(409)


@app.get("/slow")
async def slow(seconds: float) -> None:
    await asyncio.sleep(seconds)


released = threading.Event()


def write_released(text: str) -> None:
    released.wait()
    write(text)


@app.post("/held")
async def write_when_released(text: str, tasks: BackgroundTasks) -> None:
    """The task waits for a request to `/release`."""
    released.clear()
    tasks.add_task(write_released, text)


@app.post("/release")
async def release() -> None:
    released.set()


@app.post("/until-left")
async def until_left(text: str, tasks: BackgroundTasks, request: Request) -> None:
    """Respond only after the client has disconnected."""
    tasks.add_task(write, text)
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)


@app.get("/port")
async def port(request: Request) -> int | None:
    """Return the port of the client, which identifies its connection."""
    return request.client and request.client.port


@app.get("/raise")
async def fail() -> None:
    raise RuntimeError("a bug")
