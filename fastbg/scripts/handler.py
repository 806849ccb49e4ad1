"""An exception handler, and a background task that raises: the handler is not called, for the answer is out already.

Handlers make responses, and this request has had its own. The error ends in the server's log under another name. Only
a handler for `Exception` hears of it; its response is thrown away. A task is better off reporting its own errors.
"""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request

app = FastAPI()
P = ParamSpec("P")


class MailError(Exception):
    pass


def send_mail(email: str) -> None:
    time.sleep(0.2)
    raise MailError(f"no such mailbox: {email}")


def clean_up(email: str) -> None:
    time.sleep(0.2)
    raise OSError(f"disk full: {email}")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


@app.exception_handler(MailError)
async def on_mail_error(request: Request, error: MailError) -> JSONResponse:
    append(f"handler for MailError: {error}\n")
    return JSONResponse({"detail": "the mail could not be sent"}, status_code=502)


@app.exception_handler(Exception)
async def on_any_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's last resort, for errors without a handler of their own. Its response comes too late for a task."""
    append(f"handler for Exception at {request.url.path}: {type(error).__name__}: {error}\n")
    return JSONResponse({"detail": "internal error"}, status_code=500)


def reporting(task: Callable[P, None]) -> Callable[P, None]:
    """``task``, with its errors reported where they happen."""

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        except MailError as error:
            append(f"reported: {error}\n")

    return run


@app.post("/endpoint/{email}")
def send_first(email: str) -> dict[str, str]:
    send_mail(email)
    return {"message": "sent"}


@app.post("/task/{email}")
async def queue(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail, email)
    return {"message": "queued"}


@app.post("/reporting-task/{email}")
async def queue_reporting(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(reporting(send_mail), email)
    return {"message": "queued"}


@app.post("/other-error/{email}")
async def queue_clean_up(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(clean_up, email)
    return {"message": "queued"}
