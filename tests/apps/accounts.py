"""An app that wants an API key, and users who register once and log in. Its users outlive the server."""

import sqlite3
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, Header, HTTPException
from pydantic import BaseModel

USERS, MAILS = "users.db", "mails.txt"


def check_key(x_key: Annotated[str, Header()], version: int) -> None:
    if (x_key, version) != ("secret-key", 2):
        raise HTTPException(403)


app = FastAPI(dependencies=[Depends(check_key)])


class Person(BaseModel):
    email: str
    password: str


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(USERS, timeout=60)
    connection.execute("CREATE TABLE IF NOT EXISTS users (email PRIMARY KEY, password)")
    return connection


def send(text: str) -> None:
    with open(MAILS, "a") as mails:
        mails.write(text)


@app.post("/users", status_code=201)
def register(person: Person, tasks: BackgroundTasks) -> None:
    try:
        with database() as connection:
            connection.execute("INSERT INTO users VALUES (?, ?)", (person.email, person.password))
    except sqlite3.IntegrityError:
        raise HTTPException(409, "already registered") from None
    tasks.add_task(send, f"welcome {person.email}\n")


@app.post("/token")
def log_in(email: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, str]:
    with database() as connection:
        found = connection.execute("SELECT 1 FROM users WHERE email = ? AND password = ?", (email, password))
        if found.fetchone() is None:
            raise HTTPException(401, "unknown")
    return {"token": f"token-of-{email}"}


def email_of(authorization: Annotated[str, Header()]) -> str:
    scheme, _, email = authorization.partition("token-of-")
    if scheme != "Bearer ":
        raise HTTPException(401)
    return email


@app.post("/orders")
def order(email: Annotated[str, Depends(email_of)], tasks: BackgroundTasks, note: str = "") -> None:
    tasks.add_task(send, f"order of {email}{note}\n")


@app.get("/me")
def me(email: Annotated[str, Depends(email_of)]) -> dict[str, str]:
    return {"email": email}
