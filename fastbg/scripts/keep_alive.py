"""Two requests on one connection, as browsers and connection pools send them, and the background task of the first.

The second request does not wait for that task. But if the task raises, uvicorn closes the connection, and the second
response breaks off. Behind a proxy, the second request may come from another user. The remedy is a task that catches
its own exceptions.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

app = FastAPI()


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def send_receipt(order: str, seconds: float = 0.5) -> None:
    await asyncio.sleep(seconds)
    if order.startswith("bad-"):
        raise ValueError(f"no address for {order}")
    write_log(f"receipt for {order}")


async def send_receipt_guarded(order: str) -> None:
    try:
        await send_receipt(order)
    except ValueError as error:
        write_log(f"failed: {error}")


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
