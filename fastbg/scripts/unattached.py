"""Background tasks in a collection of one's own: one that no response ever gets, and one that every response gets.

FastAPI makes a collection for each request and attaches it to the response. A helper that wants to add tasks takes
that collection as a parameter.
"""

import time

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()

for_everybody = BackgroundTasks()


def remind(order: str) -> None:
    time.sleep(0.1)
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"reminder for {order}\n")


def remind_later_in_vain(order: str) -> None:
    tasks = BackgroundTasks()
    tasks.add_task(remind, order)  # and with the end of the function the collection is gone


def remind_later(order: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(remind, order)


@app.post("/trap/own/{order}")
async def own(order: str) -> dict[str, str]:
    remind_later_in_vain(order)
    return {"order": order}


@app.post("/trap/shared/{order}")
async def shared(order: str) -> JSONResponse:
    for_everybody.add_task(remind, order)
    return JSONResponse({"order": order}, background=for_everybody)


@app.post("/remedy/{order}")
async def remedy(order: str, tasks: BackgroundTasks) -> dict[str, str]:
    remind_later(order, tasks)
    return {"order": order}
