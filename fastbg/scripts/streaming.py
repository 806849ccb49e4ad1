"""A streamed response with a background task: the task starts after the last chunk.

If the generator raises, the response breaks off and the task never runs. So code that must run in every case belongs in
a `finally` of the generator.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


async def rows(count: int) -> AsyncIterator[str]:
    """Simulate a query: the database fails after the second row."""
    for number in range(count):
        await asyncio.sleep(0.1)
        if number == 2:
            raise ConnectionError("the database is down")
        yield f"row {number}\n"


async def guarded_rows(count: int, name: str) -> AsyncIterator[str]:
    """End the stream and close the cursor, even if the query fails."""
    try:
        async for row in rows(count):
            yield row
    except ConnectionError as error:
        yield f"stopped: {error}\n"
    finally:
        write_log(f"closed {name}")


async def log_export(name: str) -> None:
    await asyncio.sleep(0.2)
    write_log(f"exported {name}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.get("/export/{name}")
async def export(name: str, count: int, background_tasks: BackgroundTasks) -> StreamingResponse:
    background_tasks.add_task(log_export, name)
    return StreamingResponse(rows(count), media_type="text/plain")


@app.get("/guarded-export/{name}")
async def guarded_export(name: str, count: int, background_tasks: BackgroundTasks) -> StreamingResponse:
    background_tasks.add_task(log_export, name)
    return StreamingResponse(guarded_rows(count, name), media_type="text/plain")
