"""A shop, and test clients that call it in their own process: they get the response after the background tasks.

`/measured/...` calls the shop as a test would, and responds with what the test saw. A real client calls `/orders`.
"""

import time
from collections.abc import Callable

import httpx
from fastapi import BackgroundTasks, FastAPI
from starlette.testclient import TestClient

shop = FastAPI()
sent: set[str] = set()


def send_receipt(order: str) -> None:
    time.sleep(0.3)
    sent.add(order)
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"receipt for {order}\n")


def fail() -> None:
    raise ValueError("no address")


@shop.post("/orders/{order}")
async def take(order: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(send_receipt, order)
    return "thank you"


@shop.post("/bad-orders")
async def take_bad(tasks: BackgroundTasks) -> str:
    tasks.add_task(fail)
    return "thank you"


app = FastAPI()


@app.post("/measured/test-client/{order}")
def with_test_client(order: str) -> dict[str, object]:
    response = TestClient(shop).post(f"/orders/{order}")
    return {"status": response.status_code, "sent_before_the_response": order in sent}


@app.post("/measured/asgi-transport/{order}")
async def with_asgi_transport(order: str) -> dict[str, object]:
    transport = httpx.ASGITransport(shop)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        response = await client.post(f"/orders/{order}")
    return {"status": response.status_code, "sent_before_the_response": order in sent}


@app.post("/measured/test-client-failing")
def failing_with_test_client() -> dict[str, object]:
    return {"test_saw": outcome(lambda: TestClient(shop).post("/bad-orders"))}


def outcome(ask: Callable[[], object]) -> str:
    try:
        ask()
    except ValueError as error:
        return f"ValueError: {error}"
    return "a response"


app.mount("/", shop)
