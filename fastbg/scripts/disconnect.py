"""A client that loses patience, and what becomes of the background tasks of its request.

Starlette and uvicorn let them run. The trap is a middleware as it is passed around, to "cancel the work when the client
has gone": it waits for the server's ``http.disconnect``, which the server also sends once a response is complete.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def send_receipt(order: str) -> None:
    await asyncio.sleep(0.3)
    note(f"receipt for {order}")


class CancelOnDisconnect:
    """The trap."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue()

        async def handle() -> None:
            await self.app(scope, messages.get, send)

        work = asyncio.create_task(handle())

        async def listen() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                messages.put_nowait(message)
            work.cancel()

        listening = asyncio.create_task(listen())
        try:
            await work
        finally:
            listening.cancel()


shop = FastAPI()


@shop.post("/orders/{order}")
async def take(order: str, tasks: BackgroundTasks, seconds: float = 0) -> str:
    tasks.add_task(send_receipt, order)
    await asyncio.sleep(seconds)
    return "thank you"


app = FastAPI()
app.mount("/impatient", CancelOnDisconnect(shop))
app.mount("/", shop)
