"""Sends requests as a plain loop would: ``python -m tests.benchmarks.plain_client URL NUMBER CLIENTS``.

Each of the parallel workers has an `httpx.AsyncClient` of its own: one shared client would compare all its connections
with each other for each request. Prints the requests per second.
"""

import asyncio
import sys
import time

import httpx

from tests.support.servers import NO_TLS


async def send(url: str, number: int, clients: int) -> float:
    numbers = iter(range(number))

    async def work(client: httpx.AsyncClient) -> None:
        for each in numbers:  # shared by all workers
            response = await client.post(f"/send-notification/{each}@b.c")
            if response.json() != {"message": "Message sent"}:
                raise RuntimeError(response.text)

    made = [httpx.AsyncClient(base_url=url, verify=NO_TLS) for _ in range(clients)]
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client in made:
            group.create_task(work(client))
    seconds = time.perf_counter() - begin
    for client in made:
        await client.aclose()
    return number / seconds


if __name__ == "__main__":
    print(asyncio.run(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
