"""A client that disconnects, and what happens to the background tasks of its request.

Starlette and uvicorn let them run. The trap is a middleware, often copied, that cancels the work when the client
disconnects: it waits for the message `http.disconnect`, but the server also sends that after a complete response.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def send_receipt(order: str) -> None:
    await asyncio.sleep(0.3)
    write_log(f"receipt for {order}")


class CancelOnDisconnect:
    """The trap."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        work = asyncio.ensure_future(self.app(scope, messages.get, send))

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
