"""Tasks that return something that nobody runs: an `async def` behind a decorator, and a function with `yield`.

Starlette awaits a task that is an `async def`. It calls any other function in a thread, and ignores what it returns. A
decorator with a plain `def` hides the `async def`: its call makes a coroutine, and nobody awaits it. The call of a
function with `yield` makes a generator, and nobody runs it.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
T = TypeVar("T")


def logged(task: Callable[[str], T]) -> Callable[[str], T]:
    """Log each call of a function."""

    @functools.wraps(task)
    def run(email: str) -> T:
        result = task(email)
        write_log(f"{email}: {task.__name__} is done")
        return result

    return run


def async_logged(task: Callable[[str], Awaitable[T]]) -> Callable[[str], Awaitable[T]]:
    """Log each call of an `async def` function."""

    @functools.wraps(task)
    async def run(email: str) -> T:
        result = await task(email)
        write_log(f"{email}: {task.__name__} is done")
        return result

    return run


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@logged
async def send_mail(email: str) -> None:
    await asyncio.sleep(0.2)
    write_log(f"mail to {email}")


@async_logged
async def send_mail_awaited(email: str) -> None:
    await asyncio.sleep(0.2)
    write_log(f"mail to {email}")


def send_newsletters(emails: list[str]) -> Iterator[str]:
    for email in emails:
        time.sleep(0.1)
        write_log(f"newsletter to {email}")
        yield email


def send_all_newsletters(emails: list[str]) -> None:
    for email in send_newsletters(emails):
        write_log(f"{email} has the newsletter")


@app.post("/decorated/{email}")
async def mail(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail, email)
    return {"message": "queued"}


@app.post("/awaited/{email}")
async def mail_awaited(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail_awaited, email)
    return {"message": "queued"}


@app.post("/generator/{email}")
async def newsletter(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_newsletters, [email])
    return {"message": "queued"}


@app.post("/loop/{email}")
async def newsletter_in_a_loop(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_all_newsletters, [email])
    return {"message": "queued"}
