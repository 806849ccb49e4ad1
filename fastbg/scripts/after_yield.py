"""A dependency that adds a background task after its `yield`: nothing runs this task.

The code after `yield` runs when the response has been sent and its tasks are over. So add the task before the `yield`,
or let FastAPI close the dependency before it sends the response: `scope="function"`.
"""

import time
from collections.abc import AsyncIterator
from inspect import signature
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()


def audit(order: str) -> None:
    time.sleep(0.2)
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"audit of {order}\n")


async def audited_after(order: str, background_tasks: BackgroundTasks) -> AsyncIterator[None]:
    yield
    background_tasks.add_task(audit, order)  # after the endpoint


async def audited_before(order: str, background_tasks: BackgroundTasks) -> AsyncIterator[None]:
    background_tasks.add_task(audit, order)  # before the endpoint
    yield


AuditedAfter = Annotated[None, Depends(audited_after)]
AuditedBefore = Annotated[None, Depends(audited_before)]
# FastAPI before 0.121 has no `scope`.
SCOPE: dict[str, Any] = {"scope": "function"} if "scope" in signature(Depends).parameters else {}
AuditedAfterEndpoint = Annotated[None, Depends(audited_after, **SCOPE)]


@app.post("/after/{order}")
async def buy(order: str, _: AuditedAfter) -> dict[str, str]:
    return {"bought": order}


@app.post("/before/{order}")
async def buy_with_early_task(order: str, _: AuditedBefore) -> dict[str, str]:
    return {"bought": order}


@app.post("/function-scope/{order}")
async def buy_with_function_scope(order: str, _: AuditedAfterEndpoint) -> dict[str, str]:
    return {"bought": order}
