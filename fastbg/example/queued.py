"""The routes of `fastbg.example.app` with a queue: the tasks run in other processes, and survive the end of this one.

Parameters, responses and files are the same as in `app`, which does everything in one process. The differences:

* Each route sends its tasks to a broker before it responds: ``await write_log.kiq(...)``. Taskiq sends the task to NATS
  JetStream, which confirms it when the task is on its disk. So the response means that the broker has the task. If the
  broker does not confirm it in time, the response is 503, and the client may repeat the request with the same
  ``X-Request-ID``.
* Workers get the tasks from the broker (``taskiq worker fastbg.example.queued:broker --ack-type when_saved``) and
  report when a task is done. If there is no report within ``ACK_WAIT_S``, the broker delivers the task to another
  worker.
* So a task may run twice. Each task has the id of its request, so that its append is made once: see
  `fastbg.example.once`.
* A task that raises is tried ``TRIES`` times. After that it stays in the stream, under the subject ``FAILED``.
* Two tasks of one request are two messages: if there are several workers, the tasks may run at the same time or in the
  other order. If the order matters, make them one task.

``FASTBG_BROKER`` is the address of the broker: ``nats://host:4222``, several addresses with commas between them,
``tls://`` for TLS, ``nats://user:password@host:4222``. ``FASTBG_BROKER_REPLICAS`` is the number of servers of a cluster
that keep each task. For a slow network or machine, ``FASTBG_BROKER_CONFIRM`` sets ``CONFIRM_S``, and
``FASTBG_BROKER_ACK_WAIT`` sets ``ACK_WAIT_S``, which must be the same for the app and its workers.
"""

import asyncio
import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from taskiq import AsyncTaskiqDecoratedTask, SimpleRetryMiddleware, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError, SendTaskError
from taskiq_nats import PullBasedJetStreamBroker

from fastbg.example.app import FOLDER, WORK_SECONDS, Email, Framework, Q, example_response
from fastbg.example.once import append_once

logger = logging.getLogger("fastbg.example")

TASKS, FAILED = "fastbg.tasks", "fastbg.failed"
TRIES = 3  # for a task that raises
DELIVERIES = 10  # for a task whose workers die; after that it stays in the stream
# Must be longer than a task takes: a task that still runs after this time is delivered again.
ACK_WAIT_S = float(os.environ.get("FASTBG_BROKER_ACK_WAIT", 3 + 2 * WORK_SECONDS))
CONFIRM_S = float(os.environ.get("FASTBG_BROKER_CONFIRM", "0.8"))  # time for the broker to confirm a task
CONNECT_S = max(1.0, CONFIRM_S)  # how long the app waits for the broker at startup
RETRY_S = 1.0  # between two attempts to connect
CLOSE_S = 5.0  # how long the app waits for its connections to close at shutdown


async def log_error(error: Exception) -> None:
    """Log one line for each failed attempt to connect. The NATS client would log a traceback."""
    logger.warning("the broker cannot be used: %r", error)


broker = PullBasedJetStreamBroker(
    os.environ.get("FASTBG_BROKER", "nats://127.0.0.1:4222").split(","),
    subject=TASKS,
    stream_name="fastbg",
    durable="fastbg",
    stream_config=StreamConfig(
        subjects=[TASKS, FAILED],
        retention=RetentionPolicy.WORK_QUEUE,  # tasks that are done are removed
        num_replicas=int(os.environ.get("FASTBG_BROKER_REPLICAS", "1")),
    ),
    consumer_config=ConsumerConfig(
        durable_name="fastbg", filter_subject=TASKS, ack_wait=ACK_WAIT_S, max_deliver=DELIVERIES
    ),
    pull_consume_timeout=1,  # a restarted broker has forgotten who wants tasks: ask every second
    max_reconnect_attempts=-1,
    reconnect_time_wait=0.5,
    error_cb=log_error,
)


class KeepFailed(TaskiqMiddleware):
    """Keeps a task that failed for good in the stream, under a subject that no worker reads."""

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        if result.error is not None and not isinstance(result.error, NoResultError):  # NoResultError: it is tried again
            headers = {"error": re.sub(r"[^\x20-\x7e]", "?", repr(result.error))}
            await broker.js.publish(FAILED, broker.formatter.dumps(message).message, headers=headers)


broker.add_middlewares(SimpleRetryMiddleware(default_retry_count=TRIES, default_retry_label=True), KeepFailed())


@asynccontextmanager
async def connect_to_broker(app: FastAPI) -> AsyncIterator[None]:
    """Connect before the first request, or later if the broker does not respond in time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    broker.connection_kwargs["pending_size"] = 0  # without a connection, sending fails at once; nothing is sent later
    connecting = asyncio.create_task(connect())
    await asyncio.wait({connecting}, timeout=CONNECT_S)
    yield
    while not connecting.done():  # the NATS client may ignore a cancellation while it closes a connection
        connecting.cancel()
        await asyncio.wait({connecting}, timeout=RETRY_S)
    with suppress(TimeoutError):  # it may also wait forever for a connection that the broker refused
        await asyncio.wait_for(broker.shutdown(), CLOSE_S)


async def connect() -> None:
    while True:
        try:
            await broker.startup()
        except (NatsError, OSError, TimeoutError) as error:
            logger.warning("the broker is not ready: %r", error)
            await broker.client.close()
            await asyncio.sleep(RETRY_S)
        else:
            broker.js = broker.client.jetstream(timeout=CONFIRM_S)
            return


app = FastAPI(
    lifespan=connect_to_broker,
    title="fastbg example, queued",
    summary="Tasks in path operations, dependencies and sub-dependencies, run by workers.",
    description=(
        "Each route responds when the broker has its tasks. Workers append to **README.md** or **log.txt** after that. "
        "Only the control does the same work before it responds."
    ),
    openapi_tags=[
        {"name": "queued", "description": "First the response, then the work, in another process."},
        {"name": "control", "description": "First the work, then the response: for comparison."},
    ],
)


def request_id(request: Request) -> str:
    """Return the client's ``X-Request-ID``, or a new id. All tasks of the request have it."""
    sent = request.headers.get("x-request-id", "")
    request.state.id = sent if re.fullmatch(r"[\x21-\x7e]{1,128}", sent) else uuid.uuid4().hex
    return str(request.state.id)


RequestId = Annotated[str, Depends(request_id)]


@app.exception_handler(SendTaskError)
async def handle_send_error(request: Request, error: SendTaskError) -> JSONResponse:
    """Respond with 503, because the broker did not confirm a task."""
    headers = {"X-Request-ID": request.state.id, "Retry-After": "1"}
    message = "The task queue does not respond. Repeat the request with the same X-Request-ID: nothing is done twice."
    return JSONResponse({"detail": message}, 503, headers)


def append(name: str, text: str, key: str) -> None:
    """Append ``text`` to a file, once for each ``key``."""
    if WORK_SECONDS:
        time.sleep(WORK_SECONDS)
    append_once(FOLDER / name, text.encode("utf-8"), key)


@broker.task
def bg_task(framework: str, key: str) -> None:
    """Append a heading to README.md."""
    append("README.md", f"\n## {framework} 框架精讲", key)


@broker.task
def write_log(message: str, key: str) -> None:
    """Append a line to log.txt."""
    append("log.txt", message, key)


unavailable: dict[int | str, dict[str, Any]] = {503: {"description": "The broker did not confirm a task."}}


@app.post(
    "/background_tasks",
    tags=["queued"],
    summary="A task from the path operation",
    responses=example_response("任务已在后台运行") | unavailable,
)
async def run_bg_task(framework: Framework, key: RequestId) -> dict[str, str]:
    """Send one task to the broker. A worker appends a heading to **README.md**."""
    await bg_task.kiq(framework, key)
    return {"message": "任务已在后台运行"}


class Outbox:
    """The tasks of a request: dependencies add them, and the path operation sends them.

    A dependency cannot know whether the request will fail later, and a task cannot be taken back from the broker.
    (`BackgroundTasks` are an outbox too: its tasks are dropped when the request fails.)
    """

    def __init__(self, key: RequestId) -> None:
        self.key = key
        self.messages: list[tuple[AsyncTaskiqDecoratedTask[[str, str], None], str]] = []

    def add(self, task: AsyncTaskiqDecoratedTask[[str, str], None], text: str) -> None:
        self.messages.append((task, text))

    async def send(self) -> None:
        for task, text in self.messages:
            await task.kiq(text, self.key)


Out = Annotated[Outbox, Depends()]


async def continue_write_readme(outbox: Out, q: Q = None) -> str | None:
    """Add a task from a dependency."""
    if q:
        outbox.add(bg_task, "\n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n")
    return q


@app.post(
    "/dependency/background_tasks",
    tags=["queued"],
    summary="A task from a dependency",
    responses=example_response("README.md更新成功") | unavailable,
)
async def dependency_run_bg_task(
    outbox: Out, q: Annotated[str | None, Depends(continue_write_readme)]
) -> dict[str, str] | None:
    """If **q** is given, the dependency adds a quotation for **README.md**. Without it, the response is `null`."""
    await outbox.send()
    if q:
        return {"message": "README.md更新成功"}
    return None


async def get_query(outbox: Out, q: Q = None) -> str | None:
    """Add a task. The next route uses this as a dependency, the one after it as a sub-dependency."""
    if q:
        outbox.add(write_log, f"found query: {q}\n")
    return q


@app.post(
    "/send-notification/{email}",
    tags=["queued"],
    summary="Tasks from a dependency and the path operation",
    responses=example_response("Message sent") | unavailable,
)
async def send_notification(email: Email, outbox: Out, q: Annotated[str | None, Depends(get_query)]) -> dict[str, str]:
    """Append a line to **log.txt**, and another line if **q** is given."""
    outbox.add(write_log, f"message to {email}\n")
    await outbox.send()
    return {"message": "Message sent"}


async def log_framework(framework: Framework, outbox: Out, q: Annotated[str | None, Depends(get_query)]) -> str:
    """Add a task, after the task of the sub-dependency."""
    outbox.add(write_log, f"framework: {framework}\n")
    return framework


@app.post(
    "/sub-dependency/background_tasks",
    tags=["queued"],
    summary="Tasks from all three levels",
    responses=example_response("任务已在后台运行") | unavailable,
)
async def sub_dependency_run_bg_task(outbox: Out, framework: Annotated[str, Depends(log_framework)]) -> dict[str, str]:
    """Append two lines to **log.txt** (one without **q**), and a heading to **README.md**."""
    outbox.add(bg_task, framework)
    await outbox.send()
    return {"message": "任务已在后台运行"}


@app.post(
    "/foreground_tasks",
    tags=["control"],
    summary="The same work, before the response",
    responses=example_response("任务已完成"),
)
def run_fg_task(framework: Framework, key: RequestId) -> dict[str, str]:
    """Append the heading to **README.md**, and then respond. This is a plain `def`, so it runs in a thread."""
    bg_task(framework, key)
    return {"message": "任务已完成"}
