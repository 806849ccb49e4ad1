"""A shop that puts its orders in a queue before it responds, and a server, worker or broker that is killed.

The response means that the broker has the order on its disk. A worker reports when an order is shipped. If a worker
dies, the broker gives its orders to another one after `ACK_WAIT_S`. The dead worker may have shipped an order already,
so `append_once` makes sure that each order is shipped once: see `fastbg.example.once`.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from taskiq_nats import PullBasedJetStreamBroker

from fastbg.example.once import append_once

JOB_S = 0.6
ACK_WAIT_S = 2.0

broker = PullBasedJetStreamBroker(
    os.environ.get("FASTBG_BROKER", "nats://127.0.0.1:4222").split(","),
    subject="shop.orders",
    stream_name="shop",
    durable="shop",
    stream_config=StreamConfig(retention=RetentionPolicy.WORK_QUEUE),
    consumer_config=ConsumerConfig(durable_name="shop", filter_subject="shop.orders", ack_wait=ACK_WAIT_S),
    pull_consume_timeout=1,
    max_reconnect_attempts=-1,
    reconnect_time_wait=0.2,
)


@broker.task
def ship(order: str) -> None:
    time.sleep(JOB_S)
    append_once(Path("log.txt"), f"shipped {order}\n".encode(), order)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order}")
async def take(order: str) -> str:
    await ship.kiq(order)
    return "will be shipped, whatever happens"


def read_log() -> list[str]:
    return Path("log.txt").read_text(encoding="utf-8").splitlines()


@app.get("/orders")
async def shipped() -> dict[str, int]:
    """Wait until the queue is empty. Return how many of the last 30 orders were shipped, and how many twice."""
    while (waiting := (await broker.js.stream_info("shop")).state.messages) > 0:
        await asyncio.sleep(0.05)
    last = read_log()[-30:]
    return {"waiting": waiting, "shipped": len(set(last)), "twice": len(last) - len(set(last))}
