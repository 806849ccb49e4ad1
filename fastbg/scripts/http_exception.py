"""Tasks that are queued before an `HTTPException` is raised, and how to run a task with an error response.

Background tasks belong to the response that the endpoint returns. If the endpoint raises, an exception handler makes
another response without these tasks. A task runs with an error if the endpoint returns the error, or if the handler
attaches the task.
"""

import time
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask
from starlette.requests import Request

app = FastAPI()
STOCK = {"apple": 3}


def log_attempt(item: str, order: str) -> None:
    time.sleep(0.2)
    write_log(f"somebody wants {item} {order}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/raised/{item}/{order}")
async def buy(item: str, order: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(log_attempt, item, order)
    if item not in STOCK:
        raise HTTPException(404, "no such item")
    return {"message": "yours"}


async def logged(item: str, order: str, background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(log_attempt, item, order)


@app.post("/invalid/{item}/{order}")
async def buy_some(item: str, amount: int, _: Annotated[None, Depends(logged)]) -> dict[str, str]:
    """Without a valid amount, FastAPI responds with 422 after the dependency has queued its task."""
    return {"message": f"{amount} {item}"}


@app.post("/returned/{item}/{order}")
async def buy_or_return_error(item: str, order: str, background_tasks: BackgroundTasks) -> JSONResponse:
    background_tasks.add_task(log_attempt, item, order)
    if item not in STOCK:
        return JSONResponse({"detail": "no such item"}, status_code=404)
    return JSONResponse({"message": "yours"})


class NoSuchItem(Exception):
    def __init__(self, item: str, order: str) -> None:
        super().__init__(item, order)
        self.item = item
        self.order = order


@app.exception_handler(NoSuchItem)
async def answer_no_such_item(request: Request, error: NoSuchItem) -> JSONResponse:
    """Attach a task to the response of a handler."""
    task = BackgroundTask(log_attempt, error.item, error.order)
    return JSONResponse({"detail": "no such item"}, status_code=404, background=task)


@app.post("/handled/{item}/{order}")
async def buy_or_raise(item: str, order: str) -> dict[str, str]:
    if item not in STOCK:
        raise NoSuchItem(item, order)
    return {"message": "yours"}


@app.post("/checked/{item}/{order}")
async def check_and_buy(item: str, order: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Queue the task after all checks: nothing raises after that."""
    if item not in STOCK:
        raise HTTPException(404, "no such item")
    background_tasks.add_task(log_attempt, item, order)
    return {"message": "yours"}
