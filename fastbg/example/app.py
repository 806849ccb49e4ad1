"""Background tasks at every level that FastAPI has: path operation, dependency, sub-dependency.

``BackgroundTasks.add_task`` queues a task, which runs after the response has been sent. All levels of one request share
one list, and its tasks run one after the other, in the order in which they were queued. FastAPI calls a sub-dependency
first, then the dependency that needs it, then the path operation.

==========================================  ==================  =========================  ===================
route                                       sub-dependency      dependency                 path operation
==========================================  ==================  =========================  ===================
``POST /background_tasks``                                                                 heading
``POST /dependency/background_tasks``                           quotation, if ``q``
``POST /send-notification/{email}``                             query line, if ``q``       message line
``POST /sub-dependency/background_tasks``   query line, if      framework line             heading
                                            ``q``
``POST /foreground_tasks``                  (queues no task: it writes the heading before it responds)
==========================================  ==================  =========================  ===================

Headings and the quotation go to README.md, lines go to log.txt. Both files are in the folder ``FASTBG_DIR``. Each write
waits ``FASTBG_WORK`` seconds first, to simulate slow work such as sending an email.

The tasks are plain ``def`` functions, because they block: FastAPI runs them in threads. The dependencies are
``async def``: they only queue a task, and that is faster without a thread.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Query
from fastapi import Path as PathParameter

FOLDER = Path(os.environ.get("FASTBG_DIR", ".fastbg")).absolute()
WORK_SECONDS = float(os.environ.get("FASTBG_WORK", "0.5"))

CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"  # control characters, and two more that end a line
TEXT = f"^[^{CONTROL}]*$"
PART = rf"[^@/\s{CONTROL}]"  # one character of an email
EMAIL = rf"^{PART}{{1,64}}@{PART}+\.{PART}+$"

Framework = Annotated[
    str, Query(max_length=100, pattern=TEXT, description="What the heading is about.", examples=["FastAPI"])
]
Q = Annotated[
    str | None,
    Query(max_length=200, pattern=TEXT, description="If given, a dependency queues a task.", examples=["hello"]),
]
Email = Annotated[
    str, PathParameter(max_length=254, pattern=EMAIL, description="Who gets the message.", examples=["you@example.com"])
]


def example_response(message: str) -> dict[int | str, dict[str, object]]:
    """Document a response that contains ``message``."""
    return {200: {"content": {"application/json": {"example": {"message": message}}}}}


@asynccontextmanager
async def make_folder(app: FastAPI) -> AsyncIterator[None]:
    """Create the folder before the first request."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    yield


app = FastAPI(
    lifespan=make_folder,
    title="fastbg example",
    summary="Background tasks in path operations, dependencies and sub-dependencies.",
    description=(
        "Each route responds at once and appends to **README.md** or **log.txt** after that. Only the control does the "
        "same work before it responds. Watch the files while you try it."
    ),
    openapi_tags=[
        {"name": "background", "description": "First the response, then the work."},
        {"name": "control", "description": "First the work, then the response: for comparison."},
    ],
)


def append(name: str, text: str) -> None:
    """Append ``text`` to a file in one write, so that texts of other threads and processes do not mix with it."""
    if WORK_SECONDS:
        time.sleep(WORK_SECONDS)
    data = text.encode("utf-8")
    with open(FOLDER / name, mode="ab", buffering=0) as file:
        written = file.write(data)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes were written to {name}")


def bg_task(framework: str) -> None:
    """Append a heading to README.md."""
    append("README.md", f"\n## {framework} 框架精讲")


def write_log(message: str) -> None:
    """Append a line to log.txt."""
    append("log.txt", message)


@app.post(
    "/background_tasks",
    tags=["background"],
    summary="A task from the path operation",
    responses=example_response("任务已在后台运行"),
)
async def run_bg_task(framework: Framework, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Queue one task: it appends a heading to **README.md** after the response."""
    background_tasks.add_task(bg_task, framework)
    return {"message": "任务已在后台运行"}


async def continue_write_readme(background_tasks: BackgroundTasks, q: Q = None) -> str | None:
    """Queue a task from a dependency."""
    if q:
        background_tasks.add_task(
            bg_task, "\n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n"
        )
    return q


@app.post(
    "/dependency/background_tasks",
    tags=["background"],
    summary="A task from a dependency",
    responses=example_response("README.md更新成功"),
)
async def dependency_run_bg_task(q: Annotated[str | None, Depends(continue_write_readme)]) -> dict[str, str] | None:
    """If **q** is given, the dependency queues a quotation for **README.md**. Without it, the response is `null`."""
    if q:
        return {"message": "README.md更新成功"}
    return None


async def get_query(background_tasks: BackgroundTasks, q: Q = None) -> str | None:
    """Queue a task. The next route uses this as a dependency, the one after it as a sub-dependency."""
    if q:
        background_tasks.add_task(write_log, f"found query: {q}\n")
    return q


@app.post(
    "/send-notification/{email}",
    tags=["background"],
    summary="Tasks from a dependency and the path operation",
    responses=example_response("Message sent"),
)
async def send_notification(
    email: Email, background_tasks: BackgroundTasks, q: Annotated[str | None, Depends(get_query)]
) -> dict[str, str]:
    """Append a line to **log.txt**, and another line before it if **q** is given."""
    background_tasks.add_task(write_log, f"message to {email}\n")
    return {"message": "Message sent"}


async def log_framework(
    framework: Framework, background_tasks: BackgroundTasks, q: Annotated[str | None, Depends(get_query)]
) -> str:
    """Queue a task, after the task of the sub-dependency."""
    background_tasks.add_task(write_log, f"framework: {framework}\n")
    return framework


@app.post(
    "/sub-dependency/background_tasks",
    tags=["background"],
    summary="Tasks from all three levels",
    responses=example_response("任务已在后台运行"),
)
async def sub_dependency_run_bg_task(
    background_tasks: BackgroundTasks, framework: Annotated[str, Depends(log_framework)]
) -> dict[str, str]:
    """Append two lines to **log.txt** (one without **q**), and then a heading to **README.md**."""
    background_tasks.add_task(bg_task, framework)
    return {"message": "任务已在后台运行"}


@app.post(
    "/foreground_tasks",
    tags=["control"],
    summary="The same work, before the response",
    responses=example_response("任务已完成"),
)
def run_fg_task(framework: Framework) -> dict[str, str]:
    """Append the heading to **README.md**, and then respond. This is a plain `def`, so it runs in a thread."""
    bg_task(framework)
    return {"message": "任务已完成"}
