"""A shop with a task in a thread, one in the event loop, and one of a mounted app."""

import asyncio
import time
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
inner = FastAPI()


def write(text: str) -> None:
    with Path("orders.txt").open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


async def wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


def hold(seconds: float) -> None:
    time.sleep(seconds)


@app.post("/orders")
def order(tasks: BackgroundTasks) -> None:
    tasks.add_task(write, "order")


@app.post("/slow")
async def slow(tasks: BackgroundTasks, seconds: float = 3600) -> None:
    tasks.add_task(wait, seconds)


@app.get("/")
async def root() -> None:
    pass


@inner.post("/orders")
def inner_order(tasks: BackgroundTasks) -> None:
    tasks.add_task(write, "inner order")


app.mount("/inner", inner)
