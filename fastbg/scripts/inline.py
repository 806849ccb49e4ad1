"""Sending a mail takes 0.3 s. One endpoint awaits it before it answers, the other hands it to `BackgroundTasks`.

The client of the first waits for the mail server; the client of the second has its answer at once.
"""

import asyncio

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


async def send_mail(email: str) -> None:
    """Stands for a mail server that takes its time."""
    await asyncio.sleep(0.3)
    append(f"mail to {email}\n")


def append(line: str) -> None:
    with open("log.txt", "a") as log:
        log.write(line)


@app.post("/inline/{email}")
async def inline(email: str) -> dict[str, str]:
    await send_mail(email)
    return {"message": "mail sent"}


@app.post("/background/{email}")
async def background(email: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(send_mail, email)
    return {"message": "mail on its way"}
