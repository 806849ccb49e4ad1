"""Background tasks declared at every level that FastAPI has: path operation, dependency, sub-dependency.

A task is queued with ``BackgroundTasks.add_task`` and runs when the response has been sent. All levels of one
request share one list, so its tasks run one after the other, in the order in which they were queued: a
sub-dependency is solved first, then the dependency that needs it, then the path operation.

==========================================  ==================  =========================  ===================
route                                       sub-dependency      dependency                 path operation
==========================================  ==================  =========================  ===================
``POST /background_tasks``                                                                 heading
``POST /dependency/background_tasks``                           quotation, if ``q``
``POST /send-notification/{email}``                             query line, if ``q``       message line
``POST /sub-dependency/background_tasks``   query line, if      framework line             heading
                                            ``q``
``POST /foreground_tasks``                  (queues nothing: it writes the heading before it answers)
==========================================  ==================  =========================  ===================

Headings and the quotation go to README.md, lines to log.txt, both in the folder ``FASTBG_DIR``. ``FASTBG_WORK``
is how many seconds of slow work (an e-mail to deliver, say) stand before each write.

The tasks are plain ``def``: they wait and write, so FastAPI gives each a thread. The dependencies are ``async def``:
they only queue, and a thread for that would cost more than it does.
"""

import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Query
from fastapi import Path as PathParameter
from pydantic import AfterValidator

FOLDER = Path(os.environ.get("FASTBG_DIR", ".fastbg")).absolute()
WORK_SECONDS = float(os.environ.get("FASTBG_WORK", "0.5"))

# What could forge a line or act on a terminal: control, format and bidirectional characters, line separators. All of
# these escapes mean the same in Python, in Rust, and in JavaScript, where the interactive documentation checks them.
CONTROL = r"\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
PLAIN = f"^[^{CONTROL}]*$"
EMAIL = rf"^[^@\s\\/{CONTROL}]{{1,64}}@[^@\s\\/{CONTROL}]+\.[^@\s\\/.{CONTROL}]+$"
TAGS = "[\U000e0000-\U000e007f]"  # for which there is no such escape
NO_TAGS = {"json_schema_extra": {"not": {"pattern": TAGS}}}


def no_tags(text: str | None) -> str | None:
    """Refuse tag characters, which nobody sees."""
    if text and re.search(TAGS, text):
        raise ValueError("has tag characters")
    return text


Framework = Annotated[
    str,
    Query(max_length=100, pattern=PLAIN, description="What the heading is about.", examples=["FastAPI"], **NO_TAGS),
    AfterValidator(no_tags),
]
Q = Annotated[
    str | None,
    Query(max_length=200, pattern=PLAIN, description="If given, a task is queued.", examples=["hello"], **NO_TAGS),
    AfterValidator(no_tags),
]
Email = Annotated[
    str,
    PathParameter(max_length=254, pattern=EMAIL, description="Who to notify.", examples=["you@example.com"], **NO_TAGS),
    AfterValidator(no_tags),
]


def answers(message: str) -> dict[int | str, dict[str, object]]:
    """The documentation of a response that says ``message``."""
    return {200: {"content": {"application/json": {"example": {"message": message}}}}}


@asynccontextmanager
async def make_folder(app: FastAPI) -> AsyncIterator[None]:
    """Before the first request."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    yield


app = FastAPI(
    lifespan=make_folder,
    title="fastbg example",
    summary="Background tasks in path operations, dependencies and sub-dependencies.",
    description=(
        "Each route answers at once and appends to **README.md** or **log.txt** afterwards, but for the control, "
        "which does the same work first. Watch the files while you try it."
    ),
    openapi_tags=[
        {"name": "background", "description": "Answer first, work later."},
        {"name": "control", "description": "Work first, answer later: what the others are compared with."},
    ],
)


def append(name: str, text: str) -> None:
    """Append ``text`` to a file in one write, so that writers in other threads and processes tear nothing."""
    if WORK_SECONDS:
        time.sleep(WORK_SECONDS)
    data = text.encode("utf-8")
    with open(FOLDER / name, mode="ab", buffering=0) as file:
        written = file.write(data)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes went to {name}")


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
    responses=answers("任务已在后台运行"),
)
async def run_bg_task(framework: Framework, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Queues one task, which appends a heading to **README.md** after the response."""
    background_tasks.add_task(bg_task, framework)
    return {"message": "任务已在后台运行"}


async def continue_write_readme(background_tasks: BackgroundTasks, q: Q = None) -> str | None:
    """A dependency that queues a task of its own."""
    if q:
        background_tasks.add_task(
            bg_task, "\n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n"
        )
    return q


@app.post(
    "/dependency/background_tasks",
    tags=["background"],
    summary="A task from a dependency",
    responses=answers("README.md更新成功"),
)
async def dependency_run_bg_task(q: Annotated[str | None, Depends(continue_write_readme)]) -> dict[str, str] | None:
    """Where **q** is given, the dependency queues a quotation for **README.md**; without it, the answer is `null`."""
    if q:
        return {"message": "README.md更新成功"}
    return None


async def get_query(background_tasks: BackgroundTasks, q: Q = None) -> str | None:
    """A dependency here, a sub-dependency below: it need not know."""
    if q:
        background_tasks.add_task(write_log, f"found query: {q}\n")
    return q


@app.post(
    "/send-notification/{email}",
    tags=["background"],
    summary="Tasks from a dependency and the path operation",
    responses=answers("Message sent"),
)
async def send_notification(
    email: Email, background_tasks: BackgroundTasks, q: Annotated[str | None, Depends(get_query)]
) -> dict[str, str]:
    """Appends a line to **log.txt**, and where **q** is given another one before it."""
    background_tasks.add_task(write_log, f"message to {email}\n")
    return {"message": "Message sent"}


async def log_framework(
    framework: Framework, background_tasks: BackgroundTasks, q: Annotated[str | None, Depends(get_query)]
) -> str:
    """A dependency with a dependency of its own, whose task was queued before this one's."""
    background_tasks.add_task(write_log, f"framework: {framework}\n")
    return framework


@app.post(
    "/sub-dependency/background_tasks",
    tags=["background"],
    summary="Tasks from all three levels",
    responses=answers("任务已在后台运行"),
)
async def sub_dependency_run_bg_task(
    background_tasks: BackgroundTasks, framework: Annotated[str, Depends(log_framework)]
) -> dict[str, str]:
    """Appends two lines to **log.txt** (one of them where **q** is given), then a heading to **README.md**."""
    background_tasks.add_task(bg_task, framework)
    return {"message": "任务已在后台运行"}


@app.post(
    "/foreground_tasks",
    tags=["control"],
    summary="The same work, before the response",
    responses=answers("任务已完成"),
)
def run_fg_task(framework: Framework) -> dict[str, str]:
    """Appends the heading to **README.md** and only then answers. A plain `def`: it runs in a thread."""
    bg_task(framework)
    return {"message": "任务已完成"}
