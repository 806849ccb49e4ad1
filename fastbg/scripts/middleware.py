"""The same endpoints without and with a `BaseHTTPMiddleware`, which was long said to spoil background tasks.

It once made the client wait for them, made the next request on the same connection wait, cancelled them when the
client hung up, and let them start before a slow client had the whole answer. `/plain` is without, `/wrapped` with it.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Timing(BaseHTTPMiddleware):
    """Does what most of them do: something before, something after."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Wrapped"] = "yes"
        return response


class SlowClient:
    """Stands for a client that takes its time to accept a piece of an answer: as many seconds as ``slow`` says."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def slow(message: Message) -> None:
            if message.get("body"):
                await asyncio.sleep(float(Request(scope).query_params.get("slow", 0)))
            await send(message)

        await self.app(scope, receive, slow if scope["type"] == "http" else send)


async def send_mail(email: str) -> None:
    append(f"begun {email}\n")
    await asyncio.sleep(0.3)
    append(f"mail to {email}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


def make() -> FastAPI:
    app = FastAPI()

    @app.post("/mails/{email}")
    async def queue_mail(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
        background_tasks.add_task(send_mail, email)
        return {"message": "queued"}

    @app.get("/ping")
    async def ping() -> dict[str, str]:
        return {"message": "pong"}

    return app


plain, wrapped = make(), make()
wrapped.add_middleware(Timing)

app = FastAPI()
app.add_middleware(SlowClient)
app.mount("/plain", plain)
app.mount("/wrapped", wrapped)
