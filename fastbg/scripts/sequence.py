"""Three levels queue one task each. They run one after the other: sub-dependency, dependency, path operation.

Each task takes 0.2 s, so the last one ends after 0.6 s. If the order does not matter, one task can run all three at the
same time in a task group.
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
    write_log(f"{what} begins {order}")
    await asyncio.sleep(0.2)
    write_log(f"{what} ends {order}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def audited(order: str, background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(audit, order)
    return order


async def invoiced(order: Annotated[str, Depends(audited)], background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(invoice, order)
    return order


@app.post("/in-turn/{order}")
async def buy(order: Annotated[str, Depends(invoiced)], background_tasks: BackgroundTasks) -> dict[str, str]:
    """All three levels get the same object. FastAPI calls the innermost dependency first."""
    background_tasks.add_task(mail, order)
    return {"message": "bought"}


async def finish(order: str) -> None:
    """Run all three at the same time, until the last one ends."""
    async with asyncio.TaskGroup() as group:
        group.create_task(audit(order))
        group.create_task(invoice(order))
        group.create_task(mail(order))


@app.post("/together/{order}")
async def buy_together(order: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(finish, order)
    return {"message": "bought"}
