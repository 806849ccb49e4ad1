"""A streamed response with a background task: the task starts after the last chunk, and only if there is one.

The client reads for 0.3 s, then the task runs. If the generator raises, the response breaks off and the task never
runs; so what has to be done in any case belongs into a `finally` of the generator.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


async def rows(count: int) -> AsyncIterator[str]:
    """Stands for a query; the database goes away after the second row."""
    for number in range(count):
        await asyncio.sleep(0.1)
        if number == 2:
            raise ConnectionError("the database is away")
        yield f"row {number}\n"


async def guarded_rows(count: int, name: str) -> AsyncIterator[str]:
    """The stream comes to its end whatever happens, and the cursor is closed."""
    try:
        async for row in rows(count):
            yield row
    except ConnectionError as error:
        yield f"broken off: {error}\n"
    finally:
        append(f"closed {name}\n")


async def log_export(name: str) -> None:
    await asyncio.sleep(0.2)
    append(f"exported {name}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


@app.get("/export/{name}")
async def export(name: str, count: int, background_tasks: BackgroundTasks) -> StreamingResponse:
    background_tasks.add_task(log_export, name)
    return StreamingResponse(rows(count), media_type="text/plain")


@app.get("/guarded-export/{name}")
async def guarded_export(name: str, count: int, background_tasks: BackgroundTasks) -> StreamingResponse:
    background_tasks.add_task(log_export, name)
    return StreamingResponse(guarded_rows(count, name), media_type="text/plain")
