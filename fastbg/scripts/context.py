"""What a background task can still see of its request: context variables and the request object.

A plain `def` endpoint runs in a thread with a copy of the context: what it sets there is lost when it returns. The body
of the request cannot be read after the response. The remedy for both: read the value in the endpoint, and pass it to
the task.
"""

import asyncio
import time
from contextvars import ContextVar
from typing import Annotated

from fastapi import BackgroundTasks, Body, FastAPI, Request

app = FastAPI()
user: ContextVar[str] = ContextVar("user", default="nobody")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def audit(order: str) -> None:
    time.sleep(0.2)
    write_log(f"{order} by {user.get()}")


def audit_value(order: str, who: str) -> None:
    time.sleep(0.2)
    write_log(f"{order} by {who}")


@app.post("/trap/sync/{order}")
def sync_endpoint(order: str, tasks: BackgroundTasks) -> str:
    user.set("alice")
    tasks.add_task(audit, order)
    return user.get()


@app.post("/trap/async/{order}")
async def async_endpoint(order: str, tasks: BackgroundTasks) -> str:
    user.set("alice")
    tasks.add_task(audit, order)
    return user.get()


@app.post("/remedy/value/{order}")
def value(order: str, tasks: BackgroundTasks) -> str:
    user.set("alice")
    tasks.add_task(audit_value, order, user.get())
    return user.get()


async def archive_request(order: str, request: Request) -> None:
    await asyncio.sleep(0.2)
    body = await request.body()
    write_log(f"{order}: {body.decode()}")


def archive(order: str, body: str) -> None:
    time.sleep(0.2)
    write_log(f"{order}: {body}")


@app.post("/trap/body/{order}")
async def body_in_task(order: str, request: Request, tasks: BackgroundTasks) -> str:
    tasks.add_task(archive_request, order, request)
    return "will be archived"


@app.post("/remedy/body/{order}")
async def body_in_endpoint(order: str, tasks: BackgroundTasks, body: Annotated[bytes, Body()]) -> str:
    tasks.add_task(archive, order, body.decode())
    return "will be archived"
