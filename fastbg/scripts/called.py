"""Mistakes with `add_task`: a function that is called instead of passed, and a lambda whose coroutine nobody awaits.

`add_task(f(x))` calls `f` at once and queues what it returned. `add_task(lambda: g(x))` queues a function that returns
a coroutine, and a coroutine that nobody awaits does nothing. Each endpoint responds with 200. A type checker finds all
of these mistakes except the lambda.
"""

import asyncio
import time
from functools import partial

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


def send_mail(email: str) -> None:
    time.sleep(0.3)
    write_log(f"mail to {email}")


async def send_async(email: str) -> None:
    await asyncio.sleep(0.3)
    write_log(f"mail to {email}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/called/{email}")
async def call(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail(email))  # type: ignore[func-returns-value, arg-type]  # the mistake
    return {"message": "queued"}


@app.post("/coroutine/{email}")
async def make_coroutine(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_async(email))  # type: ignore[arg-type]  # the mistake
    return {"message": "queued"}


@app.post("/lambda/{email}")
async def wrap_in_lambda(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(lambda: send_async(email))  # the mistake, which no type checker finds
    return {"message": "queued"}


@app.post("/handed-over/{email}")
async def hand_over(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail, email)
    return {"message": "queued"}


@app.post("/partial/{email}")
async def hand_over_partial(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(partial(send_async, email))
    return {"message": "queued"}
