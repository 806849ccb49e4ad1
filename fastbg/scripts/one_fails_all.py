"""Two background tasks of one request; the first raises, and the second never runs.

The tasks of a request run one after the other, and nobody goes on after an exception. The client has its 200 already.
A task that catches and reports its own errors stands in nobody's way.
"""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
P = ParamSpec("P")


def update_statistics(email: str) -> None:
    raise ConnectionError("the statistics server is away")


def send_welcome(email: str) -> None:
    time.sleep(0.2)
    append(f"welcome {email}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


def guarded(task: Callable[P, None]) -> Callable[P, None]:
    """``task``, but its errors are reported and end nothing else."""

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other tasks are to run
            append(f"{task.__name__} failed for {args}: {error}\n")

    return run


@app.post("/unguarded/{email}")
async def sign_up(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(update_statistics, email)
    background_tasks.add_task(send_welcome, email)
    return {"message": "signed up"}


@app.post("/guarded/{email}")
async def sign_up_guarded(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(guarded(update_statistics), email)
    background_tasks.add_task(guarded(send_welcome), email)
    return {"message": "signed up"}
