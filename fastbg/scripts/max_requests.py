"""A shop whose workers are replaced after a number of requests, as many do against memory leaks."""

import asyncio
import os

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

JOB_S = float(os.environ.get("JOB_S", "0.5"))


async def export(order: str) -> None:
    await asyncio.sleep(JOB_S)  # does not block the event loop
    write_log(f"exported {order}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/exports/{order}")
async def queue_export(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(export, order)
    return "will be exported"
