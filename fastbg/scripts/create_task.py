"""Work handed to ``asyncio.create_task`` in an endpoint: to the event loop, that is, and to nobody else.

The loop itself holds a task by a weak reference only, no server waits for it, and nobody asks how it ended. The remedy
is the task group of the application's lifespan: it holds its tasks, and the server waits for it when it shuts down.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from fastapi import FastAPI

groups: list[asyncio.TaskGroup] = []
replies: WeakValueDictionary[str, asyncio.Future[str]] = WeakValueDictionary()


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:  # its end waits for every task
        groups.append(group)
        yield


app = FastAPI(lifespan=lifespan)


def let_go(work: Coroutine[Any, Any, None]) -> None:
    """The trap."""
    asyncio.create_task(work)  # noqa: RUF006  # nobody keeps it


def hold(work: Coroutine[Any, Any, None]) -> None:
    """The remedy: a group that holds the task, and a guard, because one failure would end the whole group."""
    groups[-1].create_task(guarded(work))


async def guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  # whatever it is, somebody has to hear of it
        note(f"failed: {error}")


async def send(letter: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    note(f"sent {letter}")


async def send_to_nobody(letter: str) -> None:
    await asyncio.sleep(0.2)
    raise ValueError(f"no address for {letter}")


async def wait_for_reply(letter: str) -> None:
    """Waits for something that only this task knows: `replies` does not keep it either, as many a library does not."""
    reply = asyncio.get_running_loop().create_future()
    replies[letter] = reply
    text = await reply
    await asyncio.sleep(0.2)
    note(f"reply {text}")


@app.post("/trap/letters/{letter}")
async def trap(letter: str, seconds: float) -> str:
    let_go(send(letter, seconds))
    return "will be sent"


@app.post("/remedy/letters/{letter}")
async def remedy(letter: str, seconds: float) -> str:
    hold(send(letter, seconds))
    return "will be sent"


@app.post("/trap/broken/{letter}")
async def trap_broken(letter: str) -> str:
    let_go(send_to_nobody(letter))
    return "will be sent"


@app.post("/remedy/broken/{letter}")
async def remedy_broken(letter: str) -> str:
    hold(send_to_nobody(letter))
    return "will be sent"


@app.post("/trap/questions/{letter}")
async def trap_question(letter: str) -> dict[str, str]:
    let_go(wait_for_reply(letter))
    return {"letter": letter}


@app.post("/remedy/questions/{letter}")
async def remedy_question(letter: str) -> dict[str, str]:
    hold(wait_for_reply(letter))
    return {"letter": letter}


@app.post("/replies/{letter}")
async def reply(letter: str, text: str) -> dict[str, bool]:
    gc.collect()  # as Python does now and then by itself
    waiting = replies.get(letter)
    if waiting is not None:
        waiting.set_result(text)
    return {"somebody_waits": waiting is not None}
