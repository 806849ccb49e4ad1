"""A response with a background of its own, next to injected `BackgroundTasks`: the injected ones are dropped.

FastAPI attaches the injected tasks only to a response that has no background yet. So there should be one collection
for all tasks of a request: the injected one.
"""

import time
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

app = FastAPI()


def audit(name: str) -> None:
    time.sleep(0.2)
    append(f"audit {name}\n")


def make_thumbnail(name: str) -> None:
    time.sleep(0.2)
    append(f"thumbnail {name}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


async def audited(name: str, background_tasks: BackgroundTasks) -> None:
    """A dependency that queues a task of its own."""
    background_tasks.add_task(audit, name)


Audited = Annotated[None, Depends(audited)]


@app.post("/own/{name}")
async def upload(name: str, _: Audited) -> JSONResponse:
    return JSONResponse({"message": "uploaded"}, background=BackgroundTask(make_thumbnail, name))


@app.post("/injected/{name}")
async def upload_injected(name: str, _: Audited, background_tasks: BackgroundTasks) -> JSONResponse:
    """The response has no background of its own: FastAPI attaches the injected tasks."""
    background_tasks.add_task(make_thumbnail, name)
    return JSONResponse({"message": "uploaded"})


@app.post("/attached/{name}")
async def upload_attached(name: str, _: Audited, background_tasks: BackgroundTasks) -> JSONResponse:
    """The response has the injected tasks as its own."""
    background_tasks.add_task(make_thumbnail, name)
    return JSONResponse({"message": "uploaded"}, background=background_tasks)
