"""A shop that ships in the background, and a process that dies meanwhile: out of memory, power cut, ``kill -9``.

The trap keeps its orders in memory only. The remedy notes each order in a folder before it answers, takes the note away
when the order is shipped, and ships at its next start what it finds noted there. That is the least that a queue does.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI

OUTBOX = Path("outbox")
JOB_S = 20  # long enough to be killed


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def ship(order: str) -> None:
    time.sleep(JOB_S)
    note(f"shipped {order}")


def thank(order: str) -> None:
    note(f"thanked for {order}")


def ship_noted(order: Path) -> None:
    ship(order.name)
    order.unlink()


def ship_what_is_left() -> None:
    OUTBOX.mkdir(exist_ok=True)
    for order in OUTBOX.iterdir():
        note(f"shipped {order.name}")  # after a crash between these two lines it will be shipped once more
        order.unlink()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    ship_what_is_left()
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order}")
async def take(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(ship, order)
    tasks.add_task(thank, order)
    return "will be shipped"


@app.post("/noted-orders/{order}")
def take_and_note(order: str, tasks: BackgroundTasks) -> str:
    (OUTBOX / order).touch()
    tasks.add_task(ship_noted, OUTBOX / order)
    return "will be shipped, whatever happens"


@app.get("/noted-orders")
def waiting() -> dict[str, object]:
    shipped = Path("log.txt").read_text(encoding="utf-8").splitlines()[-3:]
    return {"waiting": len(list(OUTBOX.iterdir())), "last": [line.split()[0] for line in shipped]}
