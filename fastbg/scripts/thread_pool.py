"""45 plain `def` background tasks that wait for a mail server, and who else needs one of the 40 threads.

Plain `def` endpoints, dependencies and background tasks share one pool of 40 threads. Tasks that hold all of them keep
every plain `def` endpoint waiting. A limiter of their own leaves the pool to the others; tasks that await need no
thread at all.
"""

import asyncio
import threading
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()
mail_threads = CapacityLimiter(5)

# Whether the mail server, which is very slow today, has answered: for threads, and for the event loop.
answered = threading.Event()
answered_async = asyncio.Event()


def send_in_pool(email: str) -> None:
    """Holds its thread until the mail server answers."""
    answered.wait(10)
    append(f"mail to {email}\n")


async def send_with_own_limiter(email: str) -> None:
    """Five threads at most are taken for mails, and none of the common pool."""
    await to_thread.run_sync(send_in_pool, email, limiter=mail_threads)


async def send_awaiting(email: str) -> None:
    await asyncio.wait_for(answered_async.wait(), 10)
    append(f"mail to {email}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


async def mail_server_is_slow() -> None:
    answered.clear()
    answered_async.clear()


async def mail_server_answers_soon() -> None:
    """It answers all who wait, 0.3 s from now."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, answered.set)
    loop.call_later(0.3, answered_async.set)


async def common_pool() -> dict[str, int]:
    """How many threads the common pool has, how many of them are taken, and how many tasks wait for one."""
    threads = to_thread.current_default_thread_limiter().statistics()
    return {
        "threads": int(threads.total_tokens),
        "taken": threads.borrowed_tokens,
        "waiting": threads.tasks_waiting,
    }


Pool = Annotated[dict[str, int], Depends(common_pool)]


@app.post("/pool/{email}", dependencies=[Depends(mail_server_is_slow)])
async def queue_in_pool(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_in_pool, email)
    return {"message": "queued"}


@app.post("/own-limiter/{email}", dependencies=[Depends(mail_server_is_slow)])
async def queue_with_own_limiter(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_with_own_limiter, email)
    return {"message": "queued"}


@app.post("/awaiting/{email}", dependencies=[Depends(mail_server_is_slow)])
async def queue_awaiting(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_awaiting, email)
    return {"message": "queued"}


@app.get("/async-ping")
async def ping_in_loop(pool: Pool) -> dict[str, int]:
    return pool


@app.get("/ping", dependencies=[Depends(mail_server_answers_soon)])
def ping_in_thread(pool: Pool) -> dict[str, int]:
    """A plain `def`: it needs a thread."""
    return pool
