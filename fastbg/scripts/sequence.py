"""Three levels queue a task each, and the tasks run one after the other: sub-dependency, dependency, path operation.

Each task waits 0.2 s, so the last one is done after 0.6 s. Where the order does not matter, one task with a task group
in it does all three at the same time.
"""

import asyncio
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()


async def audit(order: str) -> None:
    await work("audit", order)


async def invoice(order: str) -> None:
    await work("invoice", order)


async def mail(order: str) -> None:
    await work("mail", order)


async def work(what: str, order: str) -> None:
    append(f"{what} begins {order}\n")
    await asyncio.sleep(0.2)
    append(f"{what} ends {order}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


async def audited(order: str, background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(audit, order)
    return order


async def invoiced(order: Annotated[str, Depends(audited)], background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(invoice, order)
    return order


@app.post("/in-turn/{order}")
async def buy(order: Annotated[str, Depends(invoiced)], background_tasks: BackgroundTasks) -> dict[str, str]:
    """All three levels get the same object; the innermost is called first."""
    background_tasks.add_task(mail, order)
    return {"message": "bought"}


async def finish(order: str) -> None:
    """All at the same time; it ends when the last one does."""
    async with asyncio.TaskGroup() as group:
        group.create_task(audit(order))
        group.create_task(invoice(order))
        group.create_task(mail(order))


@app.post("/together/{order}")
async def buy_together(order: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(finish, order)
    return {"message": "bought"}
