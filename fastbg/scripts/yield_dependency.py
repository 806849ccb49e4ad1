"""A dependency with `yield` that holds a database session, from a pool of two, while a background task runs.

By default the code after `yield` runs after the background tasks: a task of 0.4 s keeps the session for 0.4 s, even if
it does not use it. With `scope="function"` it runs before the response is sent: the session is free early, but closed
for the task. So a task that needs a session should open its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import signature
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()
pool = asyncio.Semaphore(2)


class Session:
    """Simulates a database session."""

    open = True

    def save(self, order: str) -> None:
        write_log(f"{'saved' if self.open else 'not saved, the session is closed:'} {order}")


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    async with pool:
        session = Session()
        try:
            yield session
        finally:
            session.open = False


async def get_session() -> AsyncIterator[Session]:
    async with open_session() as session:
        yield session


async def ship(order: str, session: Session) -> None:
    """Work for 0.4 s, and then save with the session of the request."""
    await asyncio.sleep(0.4)
    session.save(order)


async def ship_with_own_session(order: str) -> None:
    """Work for 0.4 s, and then open a session to save."""
    await asyncio.sleep(0.4)
    async with open_session() as session:
        session.save(order)


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


RequestSession = Annotated[Session, Depends(get_session)]  # the same as scope="request"
# FastAPI before 0.121 has no `scope`.
SCOPE: dict[str, Any] = {"scope": "function"} if "scope" in signature(Depends).parameters else {}
FunctionSession = Annotated[Session, Depends(get_session, **SCOPE)]


@app.post("/request-scope/{order}")
async def buy(order: str, session: RequestSession, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(ship, order, session)
    return {"message": "bought"}


@app.post("/function-scope/{order}")
async def buy_and_close(order: str, session: FunctionSession, background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(ship, order, session)
    return {"message": "bought"}


@app.post("/own-session/{order}")
async def buy_with_own_session(
    order: str, session: FunctionSession, background_tasks: BackgroundTasks
) -> dict[str, str]:
    background_tasks.add_task(ship_with_own_session, order)
    return {"message": "bought"}


@app.get("/orders")
async def orders(session: RequestSession) -> dict[str, bool]:
    return {"open": session.open}
