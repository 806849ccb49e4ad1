"""Work that an endpoint gives to `asyncio.create_task`, and to the task group of the lifespan.

The loop has only a weak reference to a task, no server waits for it, and nobody sees its exception. A task group keeps
its tasks, and the lifespan waits for its group when the server shuts down.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from fastapi import FastAPI

replies: WeakValueDictionary[str, asyncio.Future[str]] = WeakValueDictionary()


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:  # it waits for all its tasks at the end
        app.state.group = group
        yield


app = FastAPI(lifespan=lifespan)


def start_alone(work: Coroutine[Any, Any, None]) -> None:
    """The trap: nobody keeps the task."""
    asyncio.create_task(work)  # noqa: RUF006  # the mistake, which Ruff finds


def start_in_group(work: Coroutine[Any, Any, None]) -> None:
    """The remedy: the group keeps the task."""
    app.state.group.create_task(log_failure(work))


async def log_failure(work: Coroutine[Any, Any, None]) -> None:
    """Log the exception of a task: in a task group it would cancel all the other tasks."""
    try:
        await work
    except Exception as error:  # noqa: BLE001  # every exception has to be logged
        write_log(f"failed: {error}")


async def send(letter: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    write_log(f"sent {letter}")


async def send_to_nobody(letter: str) -> None:
    await asyncio.sleep(0.2)
    raise ValueError(f"no address for {letter}")


async def wait_for_reply(letter: str) -> None:
    """Wait for a future that only this task keeps: `replies` has weak references, as many libraries do."""
    reply = asyncio.get_running_loop().create_future()
    replies[letter] = reply
    text = await reply
    await asyncio.sleep(0.2)
    write_log(f"reply {text}")


@app.post("/trap/letters/{letter}")
async def trap(letter: str, seconds: float) -> str:
    start_alone(send(letter, seconds))
    return "will be sent"


@app.post("/remedy/letters/{letter}")
async def remedy(letter: str, seconds: float) -> str:
    start_in_group(send(letter, seconds))
    return "will be sent"


@app.post("/trap/broken/{letter}")
async def trap_broken(letter: str) -> str:
    start_alone(send_to_nobody(letter))
    return "will be sent"


@app.post("/remedy/broken/{letter}")
async def remedy_broken(letter: str) -> str:
    start_in_group(send_to_nobody(letter))
    return "will be sent"


@app.post("/trap/questions/{letter}")
async def trap_question(letter: str) -> dict[str, str]:
    start_alone(wait_for_reply(letter))
    return {"letter": letter}


@app.post("/remedy/questions/{letter}")
async def remedy_question(letter: str) -> dict[str, str]:
    start_in_group(wait_for_reply(letter))
    return {"letter": letter}


@app.post("/replies/{letter}")
async def reply(letter: str, text: str) -> dict[str, bool]:
    gc.collect()  # Python also does this by itself, from time to time
    waiting = replies.get(letter)
    if waiting is not None:
        waiting.set_result(text)
    return {"task_waits": waiting is not None}
