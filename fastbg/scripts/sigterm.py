"""A shop whose background tasks take a while, and a server that is told to end meanwhile, as in every deploy.

The code is the same for trap and remedy: how long uvicorn waits for tasks is a setting of the server, not of the app.
"""

import asyncio
import os
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

JOB_S = float(os.environ.get("JOB_S", "0.8"))


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def ship(order: str) -> None:
    """Runs in a thread, which nobody can cancel."""
    time.sleep(JOB_S)
    note(f"shipped {order}")


async def invoice(order: str) -> None:
    """Runs in the event loop: a cancellation comes out of the ``await``."""
    await asyncio.sleep(JOB_S)
    note(f"invoiced {order}")


def thank(order: str) -> None:
    note(f"thanked for {order}")


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
