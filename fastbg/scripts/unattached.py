"""Two `BackgroundTasks` objects that the app creates itself: one gets no response, the other gets all of them.

FastAPI makes one object for each request and attaches it to the response. A helper that adds tasks should take that
object as a parameter.
"""

import time

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()

shared_tasks = BackgroundTasks()


def remind(order: str) -> None:
    time.sleep(0.1)
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"reminder for {order}\n")


def remind_later_without_response(order: str) -> None:
    tasks = BackgroundTasks()
    tasks.add_task(remind, order)  # no response gets this object


def remind_later(order: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(remind, order)


@app.post("/trap/own/{order}")
async def own(order: str) -> dict[str, str]:
    remind_later_without_response(order)
    return {"order": order}


@app.post("/trap/shared/{order}")
async def shared(order: str) -> JSONResponse:
    shared_tasks.add_task(remind, order)
    return JSONResponse({"order": order}, background=shared_tasks)


@app.post("/remedy/{order}")
async def remedy(order: str, tasks: BackgroundTasks) -> dict[str, str]:
    remind_later(order, tasks)
    return {"order": order}
