"""Two responses that are not the one that is sent, and so lose their background tasks.

FastAPI makes a new response from the value that an endpoint returns. From the injected `Response` it copies the status
and the headers, but not the `background`. A route class that returns a new response has to copy the `background` too.
"""

import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def send_receipt(order: str) -> None:
    time.sleep(0.2)
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"receipt for {order}\n")


class WrappingRoute(APIRoute):
    """Puts the body of each response into `{"data": ...}`."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def wrap(request: Request) -> Response:
            response = await handle(request)
            content = {"data": json.loads(bytes(response.body))}
            return JSONResponse(content, response.status_code)

        return wrap


class KeepingRoute(APIRoute):
    """The same, but the new response keeps the tasks."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def wrap(request: Request) -> Response:
            response = await handle(request)
            content = {"data": json.loads(bytes(response.body))}
            return JSONResponse(content, response.status_code, background=response.background)

        return wrap


app = FastAPI()
wrapped = APIRouter(route_class=WrappingRoute)
kept = APIRouter(route_class=KeepingRoute)


@app.post("/response/{order}")
async def buy(order: str, response: Response) -> dict[str, str]:
    response.background = BackgroundTask(send_receipt, order)
    return {"order": order}


@app.post("/injected/{order}")
@wrapped.post("/wrapped/{order}")
@kept.post("/kept/{order}")
async def buy_with_tasks(order: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_receipt, order)
    return {"order": order}


app.include_router(wrapped)
app.include_router(kept)
