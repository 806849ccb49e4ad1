"""The same endpoints without and with a `BaseHTTPMiddleware`, which broke background tasks in older versions.

The client waited for the tasks, the next request on the same connection waited, a client that disconnected cancelled
the tasks, and they could start before a slow client had the whole response. `/plain` is without the middleware,
`/wrapped` with it.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AddHeader(BaseHTTPMiddleware):
    """Adds a header, as many middlewares do."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Wrapped"] = "yes"
        return response


class SlowClient:
    """Simulates a client that accepts the response slowly: `slow` is the number of seconds in the query."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def slow(message: Message) -> None:
            if message.get("body"):
                await asyncio.sleep(float(Request(scope).query_params.get("slow", 0)))
            await send(message)

        await self.app(scope, receive, slow if scope["type"] == "http" else send)


async def send_mail(email: str) -> None:
    write_log(f"begun {email}")
    await asyncio.sleep(0.3)
    write_log(f"mail to {email}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


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
wrapped.add_middleware(AddHeader)

app = FastAPI()
app.add_middleware(SlowClient)
app.mount("/plain", plain)
app.mount("/wrapped", wrapped)
