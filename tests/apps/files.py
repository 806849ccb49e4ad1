"""An app whose tasks do not append to their files: they rewrite, change in place, create, delete and move them."""

import mmap
import os
import sqlite3
import time
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

app = FastAPI()


def note(text: str) -> None:
    with open("log.txt", mode="w", encoding="utf-8") as file:  # as in the first example of FastAPI's tutorial
        file.write(text)


@app.post("/note/{text}")
async def note_later(text: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(note, text)


def insert(text: str) -> None:
    connection = sqlite3.connect("shop.db")
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (name TEXT)")
        connection.execute("INSERT INTO orders VALUES (?)", (text,))
    connection.close()


@app.post("/row/{text}")
async def insert_later(text: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(insert, text)


def change_map(text: str) -> None:
    with open("map.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000 : 5000 + len(text)] = text.encode()


@app.post("/map/{text}")
def map_later(text: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(change_map, text)


@app.post("/new-map/{text}")
def make_map(text: str, tasks: BackgroundTasks) -> None:
    Path("map.bin").write_bytes(bytes(65536))
    tasks.add_task(change_map, text)


@app.post("/note-now/{text}")
def note_now(text: str, tasks: BackgroundTasks) -> None:
    note(text)
    time.sleep(0.2)  # the follower reads it meanwhile
    tasks.add_task(sum, [1])


@app.post("/row-now/{text}")
async def insert_now(text: str, tasks: BackgroundTasks) -> None:
    insert(text)
    tasks.add_task(sum, [1])


@app.get("/download")
def download() -> FileResponse:
    Path("export.tmp").write_text("content", encoding="utf-8")
    return FileResponse("export.tmp", background=BackgroundTask(os.remove, "export.tmp"))


@app.post("/move")
def move_later(tasks: BackgroundTasks) -> None:
    Path("report.part").write_text("content", encoding="utf-8")
    tasks.add_task(os.replace, "report.part", "report.pdf")
