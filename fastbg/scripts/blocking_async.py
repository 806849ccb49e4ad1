"""A background task that is `async def` and blocks: its own answer is out, and then the whole server stands still.

An `async def` task runs in the event loop, which everybody shares. Where the work blocks, a plain `def` gives it a
thread; where there is an asynchronous library for it, `await` gives the loop back.
"""

import asyncio
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


async def report_blocking(name: str) -> None:
    time.sleep(0.4)  # noqa: ASYNC251  # this is the mistake; Ruff's rule ASYNC251 is right
    append(f"report {name}\n")


def report_in_thread(name: str) -> None:
    time.sleep(0.4)
    append(f"report {name}\n")


async def report_awaiting(name: str) -> None:
    await asyncio.sleep(0.4)
    append(f"report {name}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


@app.post("/blocking/{name}")
async def queue_blocking(name: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(report_blocking, name)
    return {"message": "queued"}


@app.post("/thread/{name}")
async def queue_in_thread(name: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(report_in_thread, name)
    return {"message": "queued"}


@app.post("/awaiting/{name}")
async def queue_awaiting(name: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(report_awaiting, name)
    return {"message": "queued"}


@app.get("/ping")
async def ping() -> dict[str, str]:
    return {"message": "pong"}
