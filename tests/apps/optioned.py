"""An app that shows with which options it is served."""

import os
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request


def log(text: str) -> None:
    with open("log.txt", "a") as file:
        file.write(text)


def create() -> FastAPI:
    app = FastAPI()

    @app.get("/served")
    async def served(request: Request, tasks: BackgroundTasks, text: str = "") -> dict[str, Any]:
        tasks.add_task(log, text)
        return {
            "root_path": request.scope["root_path"],
            "scheme": request.scope["scheme"],
            "client": request.client and request.client.host,
            "variable": os.environ.get("FROM_THE_FILE"),
            "pid": os.getpid(),
        }

    return app


app = create()
