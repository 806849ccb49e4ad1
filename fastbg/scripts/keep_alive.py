"""Two requests that share a connection, as those of a browser or of a pool do, and the background task of the first.

The second one need not wait for that task. But where the task raises, uvicorn closes the connection, and whatever the
second request was about to get on it is cut off. The remedy is a task that keeps its errors to itself.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

app = FastAPI()


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def send_receipt(order: str, seconds: float = 0.5) -> None:
    await asyncio.sleep(seconds)
    if order.startswith("bad-"):
        raise ValueError(f"no address for {order}")
    note(f"receipt for {order}")


async def send_receipt_guarded(order: str) -> None:
    try:
        await send_receipt(order)
    except ValueError as error:
        note(f"failed: {error}")


@app.post("/orders/{order}")
async def take(order: str, tasks: BackgroundTasks, seconds: float = 0.5) -> str:
    tasks.add_task(send_receipt, order, seconds)
    return "thank you"


@app.post("/guarded-orders/{order}")
async def take_guarded(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(send_receipt_guarded, order)
    return "thank you"


@app.get("/catalogue")
async def catalogue(seconds: float = 0) -> StreamingResponse:
    async def pages() -> AsyncIterator[bytes]:
        yield b"first page\n"
        await asyncio.sleep(seconds)
        yield b"last page\n"

    return StreamingResponse(pages())
