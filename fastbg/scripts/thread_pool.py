"""45 plain `def` background tasks that wait for a mail server, and endpoints that need one of the 40 threads.

Plain `def` endpoints, dependencies and background tasks share one pool of 40 threads. While tasks use all of them,
every plain `def` endpoint waits. With a limiter of their own, the tasks leave the pool to the endpoints; tasks that
await need no thread.
"""

import asyncio
import threading
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()
mail_threads = CapacityLimiter(5)

# Set when the slow mail server answers: one event for threads, one for the event loop.
answered = threading.Event()
answered_async = asyncio.Event()


def send_in_pool(email: str) -> None:
    """Block a thread until the mail server answers."""
    answered.wait(10)
    write_log(f"mail to {email}")


async def send_with_own_limiter(email: str) -> None:
    """Use at most five threads for emails, and none of the shared pool."""
    await to_thread.run_sync(send_in_pool, email, limiter=mail_threads)


async def send_awaiting(email: str) -> None:
    await asyncio.wait_for(answered_async.wait(), 10)
    write_log(f"mail to {email}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


async def mail_server_is_slow() -> None:
    answered.clear()
    answered_async.clear()


async def mail_server_answers_soon() -> None:
    """Let the mail server answer all tasks, 0.3 s from now."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, answered.set)
    loop.call_later(0.3, answered_async.set)


async def shared_pool() -> dict[str, int]:
    """Count the threads of the shared pool, those in use, and the tasks that wait for one."""
    threads = to_thread.current_default_thread_limiter().statistics()
    return {
        "threads": int(threads.total_tokens),
        "taken": threads.borrowed_tokens,
        "waiting": threads.tasks_waiting,
    }


Pool = Annotated[dict[str, int], Depends(shared_pool)]


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
    """Run in a thread, because it is a plain `def`."""
    return pool
