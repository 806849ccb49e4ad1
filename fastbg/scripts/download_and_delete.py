"""A temporary file that is deleted after its download, with a background task and with a response class.

The task of a FileResponse runs after the whole file, after HEAD, after a part of it (206), and if the client hangs up.
But if the `Range` of a request begins after the end of the file, Starlette answers 416 with another response, which
does not have the task: the file stays. The remedy deletes the file in a `finally`, whatever the response was.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.types import Receive, Scope, Send


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with TemporaryDirectory(prefix="reports-") as folder:
        app.state.reports = Path(folder)
        yield


app = FastAPI(lifespan=lifespan)


def make_report(name: str, mebibytes: int) -> Path:
    """Create a file of zeros, which take no space on the disk."""
    path: Path = app.state.reports / name
    with path.open("wb") as file:
        file.truncate(mebibytes * 2**20)
    return path


def delete(path: Path) -> None:
    path.unlink()
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(f"deleted {path.name}\n")


class TemporaryFileResponse(FileResponse):
    """Sends a file, and deletes it in every case."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            delete(Path(self.path))


@app.get("/task/{name}")
@app.head("/task/{name}")
def download(name: str, mebibytes: int = 1) -> FileResponse:
    path = make_report(name, mebibytes)
    return FileResponse(path, background=BackgroundTask(delete, path))


@app.get("/finally/{name}")
@app.head("/finally/{name}")
def download_temporary(name: str, mebibytes: int = 1) -> FileResponse:
    path = make_report(name, mebibytes)
    return TemporaryFileResponse(path)


@app.get("/left")
def left() -> dict[str, bool]:
    return {"files left": any(app.state.reports.iterdir())}
