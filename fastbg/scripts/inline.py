"""Sending an email takes 0.3 s. One endpoint awaits it before it responds, the other passes it to `BackgroundTasks`.

The client of the first endpoint waits for the mail server; the client of the second one gets its response at once.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


async def send_mail(email: str) -> None:
    """Simulate a slow mail server."""
    await asyncio.sleep(0.3)
    write_log(f"mail to {email}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/inline/{email}")
async def inline(email: str) -> dict[str, str]:
    await send_mail(email)
    return {"message": "mail sent"}


@app.post("/background/{email}")
async def background(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail, email)
    return {"message": "mail on its way"}
