"""A background task that takes no time, and a server that looks for itself what came first.

The client's process often sees the answer only after the task has written: it was asleep, and the task was quick.
The server knows better. `Witness` notes when the last byte of the answer was handed over, and the task notes whether
that had happened when it began.
"""

from collections import Counter

from fastapi import BackgroundTasks, FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Witness:
    """Notes in the request's scope that the server has taken the last byte of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                scope["answered"] = True

        await self.app(scope, receive, watched)


app = FastAPI()
app.add_middleware(Witness)
came_first = Counter({"answer": 0, "task": 0})


async def write_line(scope: Scope, text: str) -> None:
    came_first["answer" if "answered" in scope else "task"] += 1
    append(f"line {text}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


@app.post("/lines/{text}")
async def queue_line(text: str, request: Request, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(write_line, request.scope, text)
    return {"message": "queued"}


@app.get("/came-first")
async def tell_what_came_first() -> dict[str, int]:
    return came_first
