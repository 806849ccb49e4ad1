"""An app whose routes do nothing: what a server needs for a request is nearly all of its time."""

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


@app.get("/none")
async def none() -> dict[str, bool]:
    return {"ok": True}


@app.get("/task")
async def task(tasks: BackgroundTasks) -> dict[str, bool]:
    tasks.add_task(work)
    return {"ok": True}


async def work() -> None:
    pass
