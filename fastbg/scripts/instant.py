"""A background task that takes no time, and a server that checks for itself what came first.

The client often sees the response after the task has written: its process has to wake up first, and the task is short.
The server can tell. `Witness` records that the last byte of the response was sent, and the task records whether that
was before it started.
"""

from collections import Counter

from fastapi import BackgroundTasks, FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Witness:
    """Records in the scope of the request that the server has sent the last byte of the response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_record(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                scope["response_sent"] = True

        await self.app(scope, receive, send_and_record)


app = FastAPI()
app.add_middleware(Witness)
came_first = Counter({"response": 0, "task": 0})


async def write_line(scope: Scope, text: str) -> None:
    came_first["response" if "response_sent" in scope else "task"] += 1
    write_log(f"line {text}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/lines/{text}")
async def queue_line(text: str, request: Request, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(write_line, request.scope, text)
    return {"message": "queued"}


@app.get("/came-first")
async def get_came_first() -> dict[str, int]:
    return came_first
