"""An `async def` background task that blocks: its own response is sent, and then the whole server waits.

An `async def` task runs in the event loop, which all requests share. If the work blocks, use a plain `def`: it runs
in a thread. If there is an asynchronous library for the work, `await` lets the loop serve other requests.
"""

import asyncio
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


async def report_blocking(name: str) -> None:
    time.sleep(0.4)  # noqa: ASYNC251  # the mistake, which Ruff finds
    write_log(f"report {name}")


def report_in_thread(name: str) -> None:
    time.sleep(0.4)
    write_log(f"report {name}")


async def report_awaiting(name: str) -> None:
    await asyncio.sleep(0.4)
    write_log(f"report {name}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


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
