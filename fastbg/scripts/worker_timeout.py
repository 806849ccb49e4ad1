"""Reports that are rendered in the background, in a worker that Gunicorn watches.

Gunicorn kills a worker that gives no sign of life for `--timeout` seconds (default: 30). A worker of uvicorn gives its
signs in the event loop. So an `async def` task that blocks the loop for longer ends its whole process.
"""

import os
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

JOB_S = float(os.environ.get("JOB_S", "3.5"))  # longer than the --timeout of 3 s


async def render_in_the_loop(report: str) -> None:
    time.sleep(JOB_S)  # noqa: ASYNC251  # the mistake
    write_log(f"rendered {report}")


def render_in_a_thread(report: str) -> None:
    time.sleep(JOB_S)
    write_log(f"rendered {report}")


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.post("/in-the-loop/{report}")
async def queue_in_the_loop(report: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(render_in_the_loop, report)
    return "will be rendered"


@app.post("/in-a-thread/{report}")
async def queue_in_a_thread(report: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(render_in_a_thread, report)
    return "will be rendered"
