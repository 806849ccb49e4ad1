"""A shop that ships in a background task, and a process that is killed: out of memory, power cut, `kill -9`.

The trap keeps its orders in memory only. The remedy saves each order in a folder before it responds, deletes it when
the order is shipped, and at its next start ships the orders that are still there. A queue does at least this.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI

OUTBOX = Path("outbox")
JOB_S = 20  # long enough to kill the process before its end


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def ship(order: str) -> None:
    time.sleep(JOB_S)
    write_log(f"shipped {order}")


def thank(order: str) -> None:
    write_log(f"thanked for {order}")


def ship_saved(order: Path) -> None:
    ship(order.name)
    order.unlink()


def ship_saved_orders() -> None:
    OUTBOX.mkdir(exist_ok=True)
    for order in OUTBOX.iterdir():
        write_log(f"shipped {order.name}")  # a crash after this line: the order is shipped again at the next start
        order.unlink()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    ship_saved_orders()
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order}")
async def take(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(ship, order)
    tasks.add_task(thank, order)
    return "will be shipped"


@app.post("/saved-orders/{order}")
def take_and_save(order: str, tasks: BackgroundTasks) -> str:
    (OUTBOX / order).touch()
    tasks.add_task(ship_saved, OUTBOX / order)
    return "will be shipped, whatever happens"


@app.get("/saved-orders")
def waiting() -> dict[str, object]:
    shipped = Path("log.txt").read_text(encoding="utf-8").splitlines()[-3:]
    return {"waiting": len(list(OUTBOX.iterdir())), "last": [line.split()[0] for line in shipped]}
