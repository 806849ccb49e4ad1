"""A response with its own background next to injected `BackgroundTasks`: the injected tasks are dropped.

FastAPI attaches the injected tasks only to a response that has no background. So use one object for all tasks of a
request: the injected one.
"""

import time
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

app = FastAPI()


def audit(name: str) -> None:
    time.sleep(0.2)
    write_log(f"audit {name}")


def make_thumbnail(name: str) -> None:
    time.sleep(0.2)
    write_log(f"thumbnail {name}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def audited(name: str, background_tasks: BackgroundTasks) -> None:
    """Queue a task from a dependency."""
    background_tasks.add_task(audit, name)


Audited = Annotated[None, Depends(audited)]


@app.post("/own/{name}")
async def upload(name: str, _: Audited) -> JSONResponse:
    return JSONResponse({"message": "uploaded"}, background=BackgroundTask(make_thumbnail, name))


@app.post("/injected/{name}")
async def upload_injected(name: str, _: Audited, background_tasks: BackgroundTasks) -> JSONResponse:
    """Return a response without background: FastAPI attaches the injected tasks."""
    background_tasks.add_task(make_thumbnail, name)
    return JSONResponse({"message": "uploaded"})


@app.post("/attached/{name}")
async def upload_attached(name: str, _: Audited, background_tasks: BackgroundTasks) -> JSONResponse:
    """Return a response that has the injected tasks as its background."""
    background_tasks.add_task(make_thumbnail, name)
    return JSONResponse({"message": "uploaded"}, background=background_tasks)
