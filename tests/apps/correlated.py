"""An app that accepts only UUIDs as ``X-Request-ID``, as common middleware does, and writes them to its log."""

import uuid
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

app = FastAPI()
LOG = Path("log.txt")


@app.middleware("http")
async def check_request_id(request: Request, call_next: RequestResponseEndpoint) -> Response:
    try:
        valid = uuid.UUID(request.headers.get("x-request-id", "")).version == 4
    except ValueError:
        valid = False
    return await call_next(request) if valid else Response("invalid request id", 400)


def write(line: str) -> None:
    with LOG.open("a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/orders/{order}")
async def take(order: str, request: Request, tasks: BackgroundTasks) -> dict[str, str]:
    request_id = request.headers["x-request-id"]
    tasks.add_task(write, f"{request_id}: {order}")
    return {"request_id": request_id}
