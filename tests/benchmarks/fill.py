"""Queues tasks of the queued example, 50 in parallel: ``python -m tests.benchmarks.fill NUMBER``."""

import asyncio
import sys

from fastbg.example.queued import broker, write_log


async def fill(number: int) -> None:
    await broker.startup()
    numbers = iter(range(number))

    async def work() -> None:
        for each in numbers:  # shared by all
            await write_log.kiq(f"task {each}\n", str(each))

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(work())
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1])))
