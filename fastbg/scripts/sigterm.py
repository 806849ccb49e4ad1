"""A shop with slow background tasks, and a server that gets SIGTERM while they run, as in every deploy.

Trap and remedy have the same code: how long uvicorn waits for tasks is a setting of the server, not of the app.
"""

import asyncio
import os
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

JOB_S = float(os.environ.get("JOB_S", "0.8"))


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def ship(order: str) -> None:
    """Run in a thread, which cannot be cancelled."""
    time.sleep(JOB_S)
    write_log(f"shipped {order}")


async def invoice(order: str) -> None:
    """Run in the event loop: a cancellation raises in the `await`."""
    await asyncio.sleep(JOB_S)
    write_log(f"invoiced {order}")


def thank(order: str) -> None:
    write_log(f"thanked for {order}")


@app.post("/ship/{order}")
async def queue_shipping(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(ship, order)
    return "will be shipped"


@app.post("/invoice/{order}")
async def queue_invoice(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(invoice, order)
    return "will be invoiced"


@app.post("/ship-and-thank/{order}")
async def queue_both(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(ship, order)
    tasks.add_task(thank, order)
    return "will be shipped, and then you will be thanked"
