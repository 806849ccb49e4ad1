"""An app with hostile texts everywhere: responses, headers, task names, written files, errors, standard error."""

import json
import os
import sys
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import Response

from tests.support.hostile import ALL, HOSTILE

app = FastAPI()
FILE = Path(os.environ.get("FASTBG_DIR", ".")) / "log.txt"
BYTES = ALL.encode("utf-8", "surrogatepass") + b"\n"


def write(mark: str) -> None:
    with FILE.open("ab") as file:
        file.write(BYTES + mark.encode() + b"\n")
    os.write(2, BYTES)


def fail() -> None:
    raise ValueError(ALL)


write.__qualname__ = fail.__qualname__ = ALL


@app.get("/write")
async def write_later(mark: str, tasks: BackgroundTasks) -> Response:
    """Return JSON and a header that a later request can use."""
    tasks.add_task(write, mark)
    header = HOSTILE["CSI in one byte"] + HOSTILE["markup of Rich"]
    return Response(json.dumps({"told": ALL}), headers={"Content-Type": "application/json", "X-Told": header})


@app.get("/text")
async def text() -> Response:
    return Response(BYTES, headers={"Content-Type": "text/plain"})


@app.get("/deep")
async def deep() -> Response:
    return Response("[" * 30_000 + "]" * 30_000, headers={"Content-Type": "application/json"})


@app.get("/numbers")
async def numbers() -> Response:
    return Response("[NaN, Infinity, 1e999]", headers={"Content-Type": "application/json"})


@app.get("/fail")
async def fail_later(tasks: BackgroundTasks) -> None:
    tasks.add_task(fail)


@app.get("/raise")
async def raise_now(what: str) -> None:
    raise ValueError(what + ALL)


@app.get("/end")
async def end() -> None:
    sys.stderr.buffer.write(BYTES)
    sys.stderr.flush()
    os._exit(1)
