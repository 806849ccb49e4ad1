"""An exception handler, and a background task that raises: the handler is not called after the response.

A handler makes a response, and this request already has one. Starlette raises a RuntimeError in place of the task's
exception. Only a handler for `Exception` is called, and its response is thrown away. So a task should report its own
errors.
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


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.exception_handler(MailError)
async def on_mail_error(request: Request, error: MailError) -> JSONResponse:
    write_log(f"handler for MailError: {error}")
    return JSONResponse({"detail": "the email could not be sent"}, status_code=502)


@app.exception_handler(Exception)
async def on_any_error(request: Request, error: Exception) -> JSONResponse:
    """Handle exceptions that have no other handler. After a background task, this response is thrown away."""
    write_log(f"handler for Exception at {request.url.path}: {type(error).__name__}: {error}")
    return JSONResponse({"detail": "internal error"}, status_code=500)


def reporting(task: Callable[P, None]) -> Callable[P, None]:
    """Wrap a task so that it reports its own errors."""

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        except MailError as error:
            write_log(f"reported: {error}")

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
