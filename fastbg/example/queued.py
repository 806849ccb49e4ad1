"""The routes of `fastbg.example.app` with a queue: the tasks run in other processes, and outlive this one.

The same parameters, answers and files; `app` beside it is the same in one process. What is different:

* A task is given to a broker before the answer, ``await write_log.kiq(...)``: Taskiq hands it to NATS JetStream, which
  has it on its disk when it says so. The answer means: the broker has it. Where the broker does not say so in time, the
  answer is 503. The client may then ask again with the same ``X-Request-ID``.
* Workers take the tasks from the broker (``taskiq worker fastbg.example.queued:broker --ack-type when_saved``) and tell
  it when one is done. A task whose worker is silent for ``ACK_WAIT_S`` is delivered to another one.
* So a task may run twice. Each carries the id of its request, and its append is made once: see
  `fastbg.example.once`.
* A task that raises is tried ``TRIES`` times, then it is kept in the stream, under the subject ``FAILED``.
* Two tasks of one request are two messages: with several workers they may run at the same time, or the second one
  first. Where the order matters, make one task of them.

``FASTBG_BROKER`` names the broker: ``nats://host:4222``, several in a row with commas between, ``tls://`` for TLS,
``nats://user:password@host:4222``. ``FASTBG_BROKER_REPLICAS`` is how many servers of a cluster keep each task. For a
slow network or machine, ``FASTBG_BROKER_CONFIRM`` sets ``CONFIRM_S``, and ``FASTBG_BROKER_ACK_WAIT`` sets
``ACK_WAIT_S``, which has to be the same for the app and its workers.
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

from fastbg.example.app import FOLDER, WORK_SECONDS, Email, Framework, Q, answers
from fastbg.example.once import append_once

logger = logging.getLogger("fastbg.example")

TASKS, FAILED = "fastbg.evidence.tasks", "fastbg.failed"
TRIES = 3  # of a task that raises
DELIVERIES = 10  # of a task whose workers die; then it stays in the stream
# Longer than a task takes: what is still running then is delivered again.
ACK_WAIT_S = float(os.environ.get("FASTBG_BROKER_ACK_WAIT", 3 + 2 * WORK_SECONDS))
CONFIRM_S = float(os.environ.get("FASTBG_BROKER_CONFIRM", "0.8"))  # for the broker to say that it has a task
CONNECT_S = max(1.0, CONFIRM_S)  # how long the app waits for the broker at its start; without it, it answers 503
RETRY_S = 1.0  # between two attempts to connect
CLOSE_S = 5.0  # how long the app waits at its end for the connections to be closed

broker = PullBasedJetStreamBroker(
    os.environ.get("FASTBG_BROKER", "nats://127.0.0.1:4222").split(","),
    subject=TASKS,
    stream_name="fastbg",
    durable="fastbg",
    stream_config=StreamConfig(
        subjects=[TASKS, FAILED],
        retention=RetentionPolicy.WORK_QUEUE,  # what is done is taken away
        num_replicas=int(os.environ.get("FASTBG_BROKER_REPLICAS", "1")),
    ),
    consumer_config=ConsumerConfig(
        durable_name="fastbg", filter_subject=TASKS, ack_wait=ACK_WAIT_S, max_deliver=DELIVERIES
    ),
    pull_consume_timeout=1,  # after a restart the broker knows of no request for tasks: ask again and again
    max_reconnect_attempts=-1,
    reconnect_time_wait=0.5,
)


class KeepFailed(TaskiqMiddleware):
    """Puts a task that was given up back into the stream, where nobody takes it away."""

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        if result.error is not None and not isinstance(result.error, NoResultError):  # which is to be tried again
            headers = {"error": re.sub(r"[^\x20-\x7e]", "?", repr(result.error))}
            await broker.js.publish(FAILED, broker.formatter.dumps(message).message, headers=headers)


broker.add_middlewares(SimpleRetryMiddleware(default_retry_count=TRIES, default_retry_label=True), KeepFailed())


@asynccontextmanager
async def connect_to_broker(app: FastAPI) -> AsyncIterator[None]:
    """Before the first request, if the broker is there; as soon as it is there otherwise."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    broker.connection_kwargs["pending_size"] = 0  # what cannot be sent now fails now, and is not sent later
    connecting = asyncio.create_task(connect())
    await asyncio.wait({connecting}, timeout=CONNECT_S)
    yield
    while not connecting.done():  # the client of NATS may swallow a cancellation while it closes a connection
        connecting.cancel()
        await asyncio.wait({connecting}, timeout=RETRY_S)
    with suppress(TimeoutError):  # it may also wait without end for a connection that the broker has refused
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
    summary="Tasks in path operations, dependencies and sub-dependencies, done by workers.",
    description=(
        "Each route answers when the broker has its tasks. Workers append to **README.md** or **log.txt** afterwards, "
        "but for the control, which does the same work first."
    ),
    openapi_tags=[
        {"name": "queued", "description": "Answer first, work later, in another process."},
        {"name": "control", "description": "Work first, answer later: what the others are compared with."},
    ],
)


def request_id(request: Request) -> str:
    """The client's ``X-Request-ID``, or a new one: all tasks of a request carry it."""
    told = request.headers.get("x-request-id", "")
    request.state.id = told if re.fullmatch(r"[\x21-\x7e]{1,128}", told) else uuid.uuid4().hex
    return str(request.state.id)


RequestId = Annotated[str, Depends(request_id)]


@app.exception_handler(SendTaskError)
async def broker_is_away(request: Request, error: SendTaskError) -> JSONResponse:
    """The broker did not say that it has a task."""
    headers = {"X-Request-ID": request.state.id, "Retry-After": "1"}
    message = "The task queue cannot be reached. Ask again with the same X-Request-ID: nothing is done twice."
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


unavailable: dict[int | str, dict[str, Any]] = {503: {"description": "The broker did not take the task."}}


@app.post(
    "/background_tasks",
    tags=["queued"],
    summary="A task from the path operation",
    responses=answers("任务已在后台运行") | unavailable,
)
async def run_bg_task(framework: Framework, key: RequestId) -> dict[str, str]:
    """Queues one task, which appends a heading to **README.md** after the response."""
    await bg_task.kiq(framework, key)
    return {"message": "任务已在后台运行"}


class Outbox:
    """What a request wants to be done: dependencies add to it, the path operation sends it.

    A dependency cannot know whether another parameter will be refused, or an exception raised, and what the broker has
    cannot be taken back. (`BackgroundTasks` are an outbox as well: they are forgotten when a request fails.)
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
    """A dependency that has a task of its own."""
    if q:
        outbox.add(bg_task, "\n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n")
    return q


@app.post(
    "/dependency/background_tasks",
    tags=["queued"],
    summary="A task from a dependency",
    responses=answers("README.md更新成功") | unavailable,
)
async def dependency_run_bg_task(
    outbox: Out, q: Annotated[str | None, Depends(continue_write_readme)]
) -> dict[str, str] | None:
    """Where **q** is given, the dependency has a quotation for **README.md**; without it, the answer is `null`."""
    await outbox.send()
    if q:
        return {"message": "README.md更新成功"}
    return None


async def get_query(outbox: Out, q: Q = None) -> str | None:
    """A dependency here, a sub-dependency below: it need not know."""
    if q:
        outbox.add(write_log, f"found query: {q}\n")
    return q


@app.post(
    "/send-notification/{email}",
    tags=["queued"],
    summary="Tasks from a dependency and the path operation",
    responses=answers("Message sent") | unavailable,
)
async def send_notification(email: Email, outbox: Out, q: Annotated[str | None, Depends(get_query)]) -> dict[str, str]:
    """Appends a line to **log.txt**, and where **q** is given another one."""
    outbox.add(write_log, f"message to {email}\n")
    await outbox.send()
    return {"message": "Message sent"}


async def log_framework(framework: Framework, outbox: Out, q: Annotated[str | None, Depends(get_query)]) -> str:
    """A dependency with a dependency of its own, whose task is added before this one's."""
    outbox.add(write_log, f"framework: {framework}\n")
    return framework


@app.post(
    "/sub-dependency/background_tasks",
    tags=["queued"],
    summary="Tasks from all three levels",
    responses=answers("任务已在后台运行") | unavailable,
)
async def sub_dependency_run_bg_task(outbox: Out, framework: Annotated[str, Depends(log_framework)]) -> dict[str, str]:
    """Appends two lines to **log.txt** (one of them where **q** is given), and a heading to **README.md**."""
    outbox.add(bg_task, framework)
    await outbox.send()
    return {"message": "任务已在后台运行"}


@app.post(
    "/foreground_tasks",
    tags=["control"],
    summary="The same work, before the response",
    responses=answers("任务已完成"),
)
def run_fg_task(framework: Framework, key: RequestId) -> dict[str, str]:
    """Appends the heading to **README.md** and only then answers. A plain `def`: it runs in a thread."""
    bg_task(framework, key)
    return {"message": "任务已完成"}
