"""https://sabuhish.github.io/fastapi-mail/example/#sending-email-as-background-task

A file replaces the mail server. The path operations are in a router, as in larger apps.
"""

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class EmailSchema(BaseModel):
    email: list[str]


@dataclass
class Message:
    subject: str
    recipients: list[str]
    body: str


class FastMail:
    async def send_message(self, message: Message) -> None:
        await asyncio.sleep(0.02)
        for recipient in message.recipients:
            if "@" not in recipient:
                raise ValueError(f"{recipient} is not a valid address")
            write(f"To: {recipient}, {message.subject}\n")


def write(line: str) -> None:
    with open("outbox.txt", "a") as outbox:
        outbox.write(line)


router = APIRouter(prefix="/mail")


@router.post("/email")
async def simple_send(email: EmailSchema) -> JSONResponse:
    await FastMail().send_message(Message("Fastapi-Mail module", email.email, "Hi, this is a test mail"))
    return JSONResponse(status_code=200, content={"message": "email has been sent"})


@router.post("/emailbackground")
async def send_in_background(background_tasks: BackgroundTasks, email: EmailSchema) -> JSONResponse:
    message = Message("Fastapi mail module", email.email, "Simple background task")
    background_tasks.add_task(FastMail().send_message, message)
    return JSONResponse(status_code=200, content={"message": "email has been sent"})


app = FastAPI()
app.include_router(router)
