"""What a background task can still see of its request: context variables and the request object.

A plain ``def`` endpoint runs in a thread with a copy of the context, and what it sets there stays there. The body of
the request can be read while there is a client to read it from. The remedy is the same for both: read it in the
endpoint, and hand the value to the task.
"""

import asyncio
import time
from contextvars import ContextVar
from typing import Annotated

from fastapi import BackgroundTasks, Body, FastAPI, Request

app = FastAPI()
user: ContextVar[str] = ContextVar("user", default="nobody")


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def audit(order: str) -> None:
    time.sleep(0.2)
    note(f"{order} by {user.get()}")


def audit_value(order: str, who: str) -> None:
    time.sleep(0.2)
    note(f"{order} by {who}")


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
    note(f"{order}: {body.decode()}")


def archive(order: str, body: str) -> None:
    time.sleep(0.2)
    note(f"{order}: {body}")


@app.post("/trap/body/{order}")
async def body_in_task(order: str, request: Request, tasks: BackgroundTasks) -> str:
    tasks.add_task(archive_request, order, request)
    return "will be archived"


@app.post("/remedy/body/{order}")
async def body_in_endpoint(order: str, tasks: BackgroundTasks, body: Annotated[bytes, Body()]) -> str:
    tasks.add_task(archive, order, body.decode())
    return "will be archived"
