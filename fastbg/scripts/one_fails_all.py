"""Two background tasks of one request: the first one raises, and the second one never runs.

The tasks of a request run one after the other, and an exception ends the list. The client already has its 200. If each
task catches and reports its own errors, the others still run.
"""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
P = ParamSpec("P")


def update_statistics(email: str) -> None:
    raise ConnectionError("the statistics server is down")


def send_welcome(email: str) -> None:
    time.sleep(0.2)
    write_log(f"welcome {email}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def guarded(task: Callable[P, None]) -> Callable[P, None]:
    """Wrap a task so that it reports its errors, and the next task still runs."""

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # the other tasks have to run, whatever it is
            write_log(f"{task.__name__} failed for {args}: {error}")

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
