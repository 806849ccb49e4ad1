"""https://starlette.dev/background/

``/user/invite`` is the page's first example, with one task; ``/user/signup`` the second one, with two.
"""

import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def send_welcome_email(to_address: str) -> None:
    await asyncio.sleep(0.02)
    if to_address.endswith("@nowhere.invalid"):
        raise ConnectionError(f"no mail server for {to_address}")
    write(f"welcome {to_address}")


async def send_admin_notification(username: str) -> None:
    write(f"{username} signed up")


def write(line: str) -> None:
    with open("mail.txt", "a") as mail:
        mail.write(line + "\n")


async def invite(request: Request) -> JSONResponse:
    data = await request.json()
    task = BackgroundTask(send_welcome_email, to_address=data["email"])
    return JSONResponse({"status": "Invited"}, background=task)


async def signup(request: Request) -> JSONResponse:
    data = await request.json()
    tasks = BackgroundTasks()
    tasks.add_task(send_welcome_email, to_address=data["email"])
    tasks.add_task(send_admin_notification, username=data["username"])
    return JSONResponse({"status": "Signup successful"}, background=tasks)


app = Starlette(
    routes=[
        Route("/user/invite", endpoint=invite, methods=["POST"]),
        Route("/user/signup", endpoint=signup, methods=["POST"]),
    ]
)
